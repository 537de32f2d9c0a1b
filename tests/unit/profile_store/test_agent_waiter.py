"""Publishing for an agent and waiting until it has passed what was published."""

import pytest

from profile_store.agent_waiter import AgentBehind, AgentWaiter
from profile_store.memory import MemoryStore
from profile_store.port import Checkpoint, TopicPartition, Writes
from runtime.bus.memory import MemoryBus
from runtime.bus.port import Outgoing, Producer
from runtime.clock import ManualClock

FIRST, SECOND = (TopicPartition("touched", partition, 2) for partition in (0, 1))


async def make_producer() -> Producer:
    bus = MemoryBus(ManualClock(0))
    await bus.create_topics({"test.touched": (2, {})})
    return await bus.producer()


def touches(*partitions: int) -> list[Outgoing]:
    return [Outgoing("test.touched", b"{}", partition=partition) for partition in partitions]


async def advance(store: MemoryStore, topic_partition: TopicPartition, position: int) -> None:
    before = (await store.checkpoint(topic_partition)).position
    await store.save(topic_partition, before, position, Writes())


def make_waiter(store: MemoryStore, timeout_s: float = 0.0) -> AgentWaiter:
    return AgentWaiter(store=store, topic="touched", partition_count=2, timeout_s=timeout_s, poll_s=0.001)


async def test_publish_returns_the_position_after_the_last_record_of_each_partition() -> None:
    waiter, producer = make_waiter(MemoryStore(ManualClock(0))), await make_producer()
    assert await waiter.publish(producer, touches(0, 1, 0, 0)) == {FIRST: 3, SECOND: 1}
    assert await waiter.publish(producer, touches(1)) == {SECOND: 2}


async def test_wait_ends_once_every_partition_has_been_passed() -> None:
    store = MemoryStore(ManualClock(0))
    await advance(store, FIRST, 3)
    await advance(store, SECOND, 7)
    assert await make_waiter(store).wait_until_passed({FIRST: 3, SECOND: 1})


async def test_wait_goes_on_until_the_agent_comes_past() -> None:
    store, polls = MemoryStore(ManualClock(0)), 0

    class AdvancingStore(MemoryStore):
        async def checkpoint(self, topic_partition: TopicPartition) -> Checkpoint:
            nonlocal polls
            polls += 1
            if polls == 3:
                await advance(store, FIRST, 1)
            return await store.checkpoint(topic_partition)

    waiter = AgentWaiter(store=AdvancingStore(ManualClock(0)), topic="touched", partition_count=2, timeout_s=60, poll_s=0.001)
    assert await waiter.publish_and_wait(await make_producer(), touches(0))
    assert polls == 3


async def test_an_agent_that_stays_behind_is_named_with_its_partition_lag_and_command() -> None:
    store = MemoryStore(ManualClock(0))
    await advance(store, FIRST, 2)
    with pytest.raises(AgentBehind) as raised:
        await make_waiter(store).wait_until_passed({FIRST: 3, SECOND: 1_500})
    error = raised.value
    assert error.agent == "segment"
    assert error.topic_partition == SECOND
    assert error.position == 0
    assert error.required == 1_500
    assert error.lag == 1_500
    for fact in ("segment agent", "1,500 records behind", "touched partition 1", "offset 0", "onefold status"):
        assert fact in str(error)


async def test_cancelled_wait_returns_false_without_waiting() -> None:
    store = MemoryStore(ManualClock(0))
    assert not await make_waiter(store, timeout_s=60).wait_until_passed({FIRST: 1}, cancelled=lambda: True)


async def test_passed_records_count_even_if_the_wait_was_cancelled() -> None:
    store = MemoryStore(ManualClock(0))
    await advance(store, FIRST, 1)
    assert await make_waiter(store).wait_until_passed({FIRST: 1}, cancelled=lambda: True)


async def test_nothing_published_needs_no_wait() -> None:
    assert await make_waiter(MemoryStore(ManualClock(0))).publish_and_wait(await make_producer(), [])
