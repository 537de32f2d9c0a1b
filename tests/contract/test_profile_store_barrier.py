"""What a change of definitions needs of a profile store: it fences writers and reports which definitions the state presumes."""

from collections.abc import AsyncIterator

import pytest

from profile_store.port import DEFINITIONS_PARTITION, Checkpoint, GuardedDocument, ProfileStore, TopicPartition, Writes
from runtime.clock import ManualClock
from runtime.errors import StateLost
from tests.support.stores import STORES, store_named

PARTITION = TopicPartition("events", 0, 3)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, clock: ManualClock) -> AsyncIterator[ProfileStore]:
    async with store_named(request, clock) as store:
        yield store


def fragment(offset: int, data: bytes | None = b"data", topic_partition: TopicPartition = PARTITION) -> Writes:
    return Writes(documents={("fragment", "a"): GuardedDocument(data, topic_partition.guard_name, offset)})


async def stored(store: ProfileStore) -> GuardedDocument:
    return (await store.documents("fragment", ["a"]))["a"]


async def test_save_is_refused_after_writers_were_fenced(store: ProfileStore) -> None:
    before, _, _ = await store.load(PARTITION, "fragment", ["a"])
    assert (await store.fence_writers(PARTITION)).fence == before.fence + 1
    for writes in (fragment(1), Writes()):
        with pytest.raises(StateLost):
            await store.save(PARTITION, before.position, 2, writes, before.fence)
    assert (await stored(store)).data is None
    after, _, _ = await store.load(PARTITION, "fragment", ["a"])
    assert await store.save(PARTITION, after.position, 2, fragment(1), after.fence) == frozenset()
    assert await store.checkpoint(PARTITION) == Checkpoint(2, paused=False, fence=after.fence)


async def test_fence_applies_to_one_topic_partition_only(store: ProfileStore) -> None:
    other = TopicPartition("events", 1, 3)
    await store.save(other, None, 5, Writes())
    await store.fence_writers(PARTITION)
    await store.fence_writers(PARTITION)
    assert await store.save(PARTITION, None, 1, fragment(0)) == frozenset()
    assert await store.save(other, 5, 6, Writes(), 0) == frozenset()
    assert (await store.checkpoint(other)).fence == 0
    assert (await store.checkpoint(PARTITION)).fence == 2


async def test_checkpoint_carries_required_definitions_offset(store: ProfileStore) -> None:
    await store.save(DEFINITIONS_PARTITION, None, 7, Writes())
    checkpoint, _, _ = await store.load(PARTITION, "fragment", ["a"])
    assert checkpoint == Checkpoint(position=None, paused=False, definitions_offset=7)
    assert (await store.checkpoint(PARTITION)).definitions_offset == 7
