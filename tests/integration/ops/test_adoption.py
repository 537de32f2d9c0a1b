"""Another Kafka log behind the same name: refused, then adopted, and everything goes on as if there had been one log."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from pydantic import SecretStr

from domain.definitions.kinds import load_yaml
from domain.definitions.segment_plan import segment_plan_of
from ops import account, definitions_topic
from ops.account_repair import AccountRepair, RepairResult
from ops.adopted_logs import record_log, require_adopted
from ops.adoption import Adoption, LogAdoption
from ops.prepare import create_topics
from ops.rebuild.compare_stores import compare_stores
from ops.rebuild.rebuild import Rebuild
from profile_store.memory import MemoryStore
from profile_store.port import TopicPartition, Writes
from runtime.bus.memory import MemoryBus
from runtime.bus.port import Outgoing
from runtime.clock import ManualClock
from runtime.errors import AnotherLog, Transient
from runtime.settings import Settings
from schemas.events import Event
from tests.support.events import SECRET, event
from tests.support.live_pipeline import LivePipeline, live_pipeline
from warehouse.adopted_logs import AdoptedLogTable
from warehouse.client import Warehouse

pytestmark = pytest.mark.clickhouse

BUYERS = """
apiVersion: onefold/v1
kind: Segment
metadata: {name: quen}
spec: {where: {did: {event: Order Completed, at_least: 3}}}
"""


@pytest.fixture
def settings(clickhouse_settings: Settings) -> Settings:
    return clickhouse_settings.model_copy(update={"tenant_secret": SecretStr(SECRET.decode()), "partitions": 3})


def orders(number: int, people: int = 12) -> list[Event]:
    """Return an order of each customer, with the cookie that only the first customers had before."""
    return [
        event(
            {"user_id": f"KH-{who}", "email": f"khách-{who}@ví-dụ.vn", **({"anonymous_id": f"c{who}-{number}"} if who % 3 else {})},
            id=f"m{number}-{who}",
            name="Order Completed",
            properties={"total": 100_000},
        )
        for who in range(people)
    ]


async def check(pipeline: LivePipeline, accepted: int) -> None:
    """Check that the account balances and that Redis and ClickHouse agree."""
    await pipeline.wait_until_idle()
    measured = await account.measure(pipeline.settings, pipeline.bus, pipeline.warehouse)
    assert measured.balanced, measured
    assert (measured.accepted, measured.stored, measured.in_flight) == (accepted, accepted, 0)
    repaired = await AccountRepair(pipeline.settings, pipeline.bus, pipeline.warehouse, pipeline.clock).run()
    assert repaired == RepairResult(0, 0, 0)
    live = await definitions_topic.read_live(pipeline.settings, pipeline.bus)
    assert (await compare_stores(pipeline.store, pipeline.warehouse, SECRET, plan=segment_plan_of(live.values()))).agree


class World:
    """Two stores that belong to a first log, and then a second log."""

    def __init__(self, settings: Settings, warehouse: Warehouse, folder: Path) -> None:
        self.settings, self.warehouse, self.folder = settings, warehouse, folder
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.records = (AdoptedLogTable(warehouse), self.store)

    async def live_through(self, bus: MemoryBus, batches: Sequence[Sequence[Event]], accepted: int) -> set[str]:
        """Run Onefold on a log until the events are handled; return who is in the segment."""
        async with live_pipeline(self.settings, self.warehouse, self.folder, self.store, self.clock, bus) as pipeline:
            for batch in batches:
                await pipeline.send_events(batch)
            await check(pipeline, accepted)
            return {profile for profile, segments in (await pipeline.segments_by_profile()).items() if "quen" in segments}

    async def adopt(self, bus: MemoryBus) -> Adoption | None:
        return await LogAdoption(self.settings, bus, self.store, self.warehouse, self.clock).run()


@pytest.fixture
async def world(settings: Settings, warehouse: Warehouse, tmp_path: Path) -> World:
    return World(settings, warehouse, tmp_path)


async def test_after_an_adoption_new_events_of_known_customers_count(world: World) -> None:
    first = MemoryBus(world.clock)
    await create_topics(world.settings, first)
    await record_log(world.settings, first, world.records)
    await definitions_topic.write(world.settings, first, load_yaml(BUYERS, "test"))
    assert await world.live_through(first, [orders(1), orders(2)], 24) == set()

    second = MemoryBus(world.clock, epoch=1)
    with pytest.raises(AnotherLog, match="its cluster is another one"):
        await require_adopted(world.settings, second, world.records)
    assert await world.adopt(second) == Adoption(1, 1, 12, stores_differ=False)
    assert await world.adopt(second) is None
    await require_adopted(world.settings, second, world.records)
    assert set(await definitions_topic.read_live(world.settings, second)) == {"Segment/quen"}
    # Fewer records than the old log had, so that their offsets would be old ones.
    assert len(await world.live_through(second, [orders(3)], 36)) == 12

    third = MemoryBus(world.clock, epoch=2)
    assert (await world.adopt(third)) == Adoption(2, 1, 12, stores_differ=False)
    assert len(await world.live_through(third, [orders(4, people=15)], 51)) == 12


async def test_stores_that_had_come_to_different_offsets_are_told_and_a_rebuild_mends_them(world: World) -> None:
    first = MemoryBus(world.clock)
    await create_topics(world.settings, first)
    await record_log(world.settings, first, world.records)
    await world.live_through(first, [orders(1)], 12)
    # As if Redis had applied events that ClickHouse had not consumed when the log was lost.
    lost = TopicPartition("events", 0, 3)
    position = (await world.store.checkpoint(lost)).position
    assert position is not None
    await world.store.save(lost, position, position + 2, Writes())

    second = MemoryBus(world.clock, epoch=1)
    adoption = await world.adopt(second)
    assert adoption is not None
    assert adoption.stores_differ
    async with live_pipeline(world.settings, world.warehouse, world.folder, world.store, world.clock, second) as pipeline:
        await pipeline.wait_until_idle()
        await Rebuild(pipeline.settings, pipeline.bus, pipeline.store, pipeline.warehouse, pipeline.clock, quiet_s=0.1).run()
        await pipeline.send_events(orders(2))
        await check(pipeline, 24)


async def test_an_adoption_that_was_interrupted_is_completed_under_the_same_epoch(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = MemoryBus(world.clock), MemoryBus(world.clock, epoch=1)
    await create_topics(world.settings, first)
    await record_log(world.settings, first, world.records)

    async def fail(_adopted: object) -> None:
        raise Transient("Redis went away")

    with monkeypatch.context() as patched:
        patched.setattr(world.store, "adopt_log", fail)
        with pytest.raises(Transient):
            await world.adopt(second)
    adopted = await world.store.adopted_log()
    assert adopted is not None
    assert adopted.epoch == 0
    adoption = await world.adopt(second)
    assert adoption is not None
    assert adoption.epoch == 1


async def test_what_was_removed_or_spoilt_is_not_restored_and_what_the_new_log_has_stays(world: World) -> None:
    first, second = MemoryBus(world.clock), MemoryBus(world.clock, epoch=1)
    await create_topics(world.settings, first)
    await record_log(world.settings, first, world.records)
    documents = [BUYERS.replace("quen", name) for name in ("kept", "removed", "spoilt", "newer")]
    await definitions_topic.write(world.settings, first, [one for text in documents for one in load_yaml(text, "test")])
    topic, producer = world.settings.topic("definitions"), await first.producer()
    later = b'{"apiVersion": "onefold/v2", "kind": "Segment"}'
    spoiling = ((b"Segment/removed", None), (b"Segment/spoilt", b"\xff"), (b"Segment/later", later), (b"\xff", b"{}"))
    await producer.send([Outgoing(topic, value, key) for key, value in spoiling])
    await world.live_through(first, [], 0)

    await create_topics(world.settings, second)
    changed = load_yaml(BUYERS.replace("quen", "newer").replace("3", "9"), "test")
    await definitions_topic.write(world.settings, second, changed)
    adoption = await world.adopt(second)
    assert adoption is not None
    assert adoption.definitions == 2
    restored = await definitions_topic.read_topic(world.settings, second)
    assert set(restored.live) == {"Segment/kept", "Segment/newer"}
    assert restored.live["Segment/newer"] == changed[0]
    assert [record.key for record in restored.bad] == ["Segment/later"]


async def test_a_store_that_was_emptied_learns_the_log_from_the_other(world: World) -> None:
    bus = MemoryBus(world.clock)
    await create_topics(world.settings, bus)
    adopted = await record_log(world.settings, bus, world.records)
    emptied = MemoryStore(world.clock)
    await record_log(world.settings, bus, (AdoptedLogTable(world.warehouse), emptied))
    assert await emptied.adopted_log() == adopted
    await asyncio.gather(*(record.adopted_log() for record in world.records))
