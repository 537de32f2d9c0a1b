"""Touching many profiles, and the checkpoint that says that the touches are still to be sent."""

import pytest

from ops import touches
from ops.apply.reevaluation import BackfillCheckpoint, Reevaluation
from ops.prepare import create_topics
from ops.touches import ProfileToucher
from profile_store.agent_waiter import AgentBehind
from profile_store.memory import MemoryStore
from profile_store.port import Checkpoint, TopicPartition
from runtime.bus.memory import MemoryBus
from runtime.clock import ManualClock
from runtime.settings import Settings
from schemas.records import Touched

SETTINGS = Settings()
PROFILES = [f"{number:032x}" for number in range(5)]


class AgentStore(MemoryStore):
    """A store whose segment agent has passed everything that is on the topic."""

    def __init__(self, clock: ManualClock, bus: MemoryBus) -> None:
        super().__init__(clock)
        self.bus = bus

    async def checkpoint(self, topic_partition: TopicPartition) -> Checkpoint:
        if topic_partition.topic != "touched":
            return await super().checkpoint(topic_partition)
        ends = await self.bus.end_offsets(SETTINGS.topic("touched"))
        return Checkpoint(position=ends[topic_partition.partition], paused=False)


def touch_of(profile_id: str) -> Touched:
    return Touched(profile_id=profile_id, node=profile_id, cause="reconcile", at_ms=1)


async def prepared_bus() -> MemoryBus:
    bus = MemoryBus(ManualClock(0))
    await create_topics(SETTINGS, bus)
    return bus


async def test_every_profile_is_touched_once_chunk_by_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(touches, "CHUNK", 2)
    bus = await prepared_bus()
    completed: list[int] = []
    await ProfileToucher(SETTINGS, bus, AgentStore(ManualClock(0), bus)).touch(PROFILES, touch_of, completed.append)
    assert completed == [2, 4, 5]
    assert sum((await bus.end_offsets(SETTINGS.topic("touched"))).values()) == len(PROFILES)


async def test_an_agent_that_does_not_run_stops_the_touching_after_one_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(touches, "CHUNK", 2)
    bus = await prepared_bus()
    with pytest.raises(AgentBehind, match="segment agent"):
        await ProfileToucher(SETTINGS, bus, MemoryStore(ManualClock(0)), timeout_s=0).touch(PROFILES, touch_of)
    assert sum((await bus.end_offsets(SETTINGS.topic("touched"))).values()) == 2


async def test_the_checkpoint_is_pending_until_every_profile_was_evaluated() -> None:
    bus, clock = await prepared_bus(), ManualClock(7)
    reevaluation = Reevaluation(SETTINGS, bus, AgentStore(clock, bus), clock)
    assert await reevaluation.pending() is None
    checkpoint = BackfillCheckpoint("definition")
    await reevaluation.begin(checkpoint)
    assert await reevaluation.pending() == checkpoint
    assert await reevaluation.run(checkpoint) == 0
    assert await reevaluation.pending() is None
