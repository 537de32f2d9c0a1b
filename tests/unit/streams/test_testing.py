"""The stream process in memory: the agents that run in production do their work, through crashes, rebalances and faults."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from domain.definitions.kinds import load_yaml
from domain.profiles.fragment import decode_fragment
from domain.profiles.membership import decode_membership
from ops import definitions_topic
from ops.prepare import create_topics
from profile_store.memory import MemoryStore
from profile_store.port import TopicPartition
from runtime.bus.memory import MemoryBus
from runtime.bus.port import Outgoing, Record
from runtime.clock import ManualClock
from runtime.settings import Settings
from schemas.codec import encode
from schemas.events import Event
from streams.agents import build_agents
from streams.applier import ExitCode
from streams.hosting import HostedStep, StepDependencies
from streams.outcome import Outcome
from streams.slice_source import start_offset
from streams.testing import run_streams
from tests.support.events import event

PEOPLE = 40
CALLED_LATELY = """
apiVersion: onefold/v1
kind: Segment
metadata: {name: called-lately}
spec: {where: {did: {event: call_ended, within: 1h}}}
"""


@dataclass
class World:
    """The broker, the store and the clock, which outlive a process."""

    settings: Settings
    bus: MemoryBus
    store: MemoryStore
    clock: ManualClock

    async def publish(self, events: Sequence[Event]) -> None:
        producer = await self.bus.producer()
        topic = self.settings.topic("events")
        await producer.send([Outgoing(topic, encode(one), key=one.owner.encode()) for one in events])

    async def event_counts(self) -> dict[str, int]:
        """Return how many events each fragment counts."""
        return {owner: sum(decode_fragment(data).counters.values()) async for owner, data in self.store.scan("fragment")}

    async def members(self) -> set[str]:
        """Return the profiles in the segment."""
        return {
            profile_id
            async for profile_id, data in self.store.scan("membership")
            if "called-lately" in decode_membership(data).active_segments()
        }


@pytest.fixture
async def world(tmp_path: Path) -> World:
    clock = ManualClock()
    settings = Settings(data_dir=tmp_path, partitions=3, max_poll_records=7)
    bus = MemoryBus(clock)
    await create_topics(settings, bus)
    await definitions_topic.write(settings, bus, load_yaml(CALLED_LATELY, "test"))
    return World(settings, bus, MemoryStore(clock), clock)


def calls(clock: ManualClock) -> list[Event]:
    return [event({"user_id": f"u{n}"}, id=f"m{n}", name="call_ended", time_ms=clock.now_ms()) for n in range(PEOPLE)]


async def test_events_become_memberships_that_end_by_themselves(world: World) -> None:
    async with run_streams(world.settings, bus=world.bus, store=world.store, clock=world.clock) as streams:
        await world.publish(calls(world.clock))
        await streams.wait_until_idle()
        assert len(await world.members()) == PEOPLE
        world.clock.advance(3_600_000)
        await streams.wait_until_idle()
        assert await world.members() == set()


async def test_orderly_end_commits_everything_that_was_applied(world: World) -> None:
    async with run_streams(world.settings, bus=world.bus, store=world.store, clock=world.clock) as streams:
        await world.publish(calls(world.clock))
        await streams.wait_until_idle()
    topic = world.settings.topic("events")
    assert await world.bus.committed(world.settings.group("unify"), topic) == await world.bus.end_offsets(topic)


async def test_crash_at_any_moment_loses_and_repeats_nothing(world: World) -> None:
    run = partial(run_streams, world.settings, bus=world.bus, store=world.store, clock=world.clock)
    await world.publish(calls(world.clock))
    for turns in range(0, 300, 30):
        async with run() as streams:
            for _ in range(turns):  # of the event loop: each process gets a little further
                await asyncio.sleep(0)
            await streams.crash()
    async with run() as streams:
        await streams.wait_until_idle()
    assert set((await world.event_counts()).values()) == {1}
    assert len(await world.members()) == PEOPLE


async def test_processes_share_partitions_and_take_over_those_of_a_crashed_one(world: World) -> None:
    run = partial(run_streams, world.settings, bus=world.bus, store=world.store, clock=world.clock)
    async with run() as first:
        await world.publish(calls(world.clock)[: PEOPLE // 2])
        async with run() as second:
            await world.publish(calls(world.clock)[PEOPLE // 2 :])
            await first.wait_until_idle()
            assert await second.is_idle()
            await second.crash()
        await world.publish([event({"user_id": "late"}, id="late", name="call_ended", time_ms=world.clock.now_ms())])
        await first.wait_until_idle()
    assert set((await world.event_counts()).values()) == {1}
    assert len(await world.members()) == PEOPLE + 1


class FailingStep:
    """A step with a bug."""

    name = "failing"
    topic = "events"

    async def run(self, topic_partition: TopicPartition, records: Sequence[Record], now_ms: int) -> Outcome:  # noqa: ARG002 - the port's shape
        raise RuntimeError("a bug")


async def test_a_bug_ends_the_process_and_the_block_says_so(world: World) -> None:
    await world.publish(calls(world.clock))

    def build_steps(dependencies: StepDependencies) -> list[HostedStep]:
        return [*build_agents(dependencies, ["segment"]), HostedStep(FailingStep())]

    with pytest.raises(RuntimeError, match=ExitCode.BUG.name):
        async with run_streams(
            world.settings, bus=world.bus, store=world.store, clock=world.clock, build_steps=build_steps
        ) as streams:
            await streams.wait_until_idle()


@pytest.mark.parametrize(
    ("earliest", "committed", "stored", "start"),
    [(0, None, None, 0), (0, 50, None, 50), (0, 50, 30, 30), (0, 50, 70, 50), (0, None, 30, 0), (20, 50, 0, 20), (45, 50, 30, 45)],
)
def test_partition_starts_at_the_smaller_of_committed_and_stored(
    earliest: int, committed: int | None, stored: int | None, start: int
) -> None:
    assert start_offset(earliest=earliest, committed=committed, stored=stored) == start


async def test_slices_wait_while_the_identity_rules_cannot_be_read(world: World) -> None:
    topic, producer = world.settings.topic("definitions"), await world.bus.producer()
    await producer.send([Outgoing(topic, b"nonsense", b"IdentityRules/default")])
    async with run_streams(world.settings, bus=world.bus, store=world.store, clock=world.clock) as streams:
        await world.publish([event({"user_id": "u1"}, id="m1")])
        with pytest.raises(TimeoutError):
            await streams.wait_until_idle(timeout_s=0.5)
        assert await world.event_counts() == {}
        await producer.send([Outgoing(topic, None, b"IdentityRules/default")])
        await streams.wait_until_idle()
        assert sum((await world.event_counts()).values()) == 1
