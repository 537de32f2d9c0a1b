"""What every profile store promises of timers, on the twin, on Redis and on a cluster of it."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from profile_store.port import GuardedDocument, ProfileStore, TopicPartition, Writes
from runtime.clock import ManualClock
from runtime.errors import StateLost
from tests.support.stores import STORES, store_named

PARTITION = TopicPartition("touched", 1, 4)


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest) -> AsyncIterator[ProfileStore]:
    async with store_named(request, ManualClock()) as store:
        yield store


async def test_due_timers_come_earliest_first_and_stay(store: ProfileStore) -> None:
    await store.save(PARTITION, None, 1, Writes(timers={"c": 300, "b": 100, "a": 100, "d": 301}))
    assert await store.due_timers(PARTITION, 300, 10) == [("a", 100), ("b", 100), ("c", 300)]
    assert await store.due_timers(PARTITION, 300, 2) == [("a", 100), ("b", 100)]
    assert await store.due_timers(PARTITION, 99, 10) == []
    assert await store.next_timer(PARTITION) == 100


async def test_due_timers_of_one_instant_are_ordered_by_profile_for_any_limit(store: ProfileStore) -> None:
    names = [f"{number:04}" for number in range(250)]
    await store.save(PARTITION, None, 1, Writes(timers=dict.fromkeys(reversed(names), 100)))
    for limit in (1, 100, 250, 251):
        assert await store.due_timers(PARTITION, 100, limit) == [(name, 100) for name in names[:limit]]
    await store.save(PARTITION, 1, 2, Writes(timers=dict.fromkeys(names[:100], 101) | dict.fromkeys(names[100:200])))
    assert await store.due_timers(PARTITION, 100, 100) == [(name, 100) for name in names[200:]]


async def test_the_next_timer_after_an_instant_is_a_later_one(store: ProfileStore) -> None:
    late = 1_750_000_000_123
    await store.save(PARTITION, None, 1, Writes(timers={"a": 100, "b": 200, "c": late}))
    assert [await store.next_timer(PARTITION, after) for after in (99, 100, 199, 200, late - 1)] == [100, 200, 200, late, late]
    assert await store.next_timer(PARTITION, late) is None


async def test_a_timer_is_set_anew_or_cleared(store: ProfileStore) -> None:
    await store.save(PARTITION, None, 1, Writes(timers={"a": 100, "b": 200}))
    await store.save(PARTITION, 1, 2, Writes(timers={"a": 1_750_000_000_123, "b": None, "never-set": None}))
    assert await store.due_timers(PARTITION, 1 << 52, 10) == [("a", 1_750_000_000_123)]
    await store.save(PARTITION, 2, 3, Writes(timers={"a": None}))
    assert await store.next_timer(PARTITION) is None


async def test_timers_belong_to_the_shard_of_their_topic_partition(store: ProfileStore) -> None:
    other = replace(PARTITION, partition=2)
    await store.save(PARTITION, None, 1, Writes(timers={"a": 100}))
    assert await store.due_timers(other, 1000, 10) == []
    await store.save(other, None, 1, Writes(timers={"a": None}))
    assert await store.next_timer(PARTITION) == 100


async def test_timers_documents_and_position_are_saved_atomically(store: ProfileStore) -> None:
    document = GuardedDocument(b"data", PARTITION.guard_name, 4)
    await store.save(PARTITION, None, 5, Writes(documents={("membership", "a"): document}, timers={"a": 100}))
    later = Writes(documents={("membership", "a"): GuardedDocument(b"later", PARTITION.guard_name, 9)}, timers={"a": 700, "b": 800})
    for position, fence in ((4, None), (5, 1)):
        with pytest.raises(StateLost):
            await store.save(PARTITION, position, 10, later, fence)
    assert await store.due_timers(PARTITION, 1000, 10) == [("a", 100)]
    assert await store.documents("membership", ["a"]) == {"a": document}
    assert (await store.checkpoint(PARTITION)).position == 5


async def test_timers_are_wiped_alone(store: ProfileStore) -> None:
    await store.save(PARTITION, None, 5, Writes(timers={"a": 100}))
    await store.wipe(["timer"])
    assert await store.next_timer(PARTITION) is None
    assert (await store.checkpoint(PARTITION)).position == 5
