"""Two workers of one partition, one of them a zombie, in any interleaving: the state ends as if one had worked alone."""

import contextlib
import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from profile_store.port import DocumentKind, GuardedDocument, ProfileStore, TopicPartition, Writes
from runtime.clock import ManualClock
from runtime.errors import StateLost
from tests.support.rounds import rounds
from tests.support.stores import REAL, store_named

LOG_LENGTH = 24
OWNERS = 3


@pytest.fixture
async def store(request: pytest.FixtureRequest) -> AsyncIterator[ProfileStore]:
    async with store_named(request, ManualClock()) as store:
        yield store


@dataclass
class FencedWorker:
    """A worker that counts the records of each owner in its document.

    The count is not idempotent, so only the guard keeps a replay out of it.
    """

    store: ProfileStore
    topic_partition: TopicPartition
    owners: list[str]
    expected: int | None = None
    start: int = 0
    end: int = 0
    documents: dict[str, GuardedDocument] = field(default_factory=dict)

    async def begin(self, size: int, margin: int) -> None:
        """Take the next slice, perhaps starting too early."""
        checkpoint, self.documents, _ = await self.store.load(self.topic_partition, "fragment", self.owners)
        self.expected = checkpoint.position
        self.start = max((checkpoint.position or 0) - margin, 0)
        self.end = min(self.start + size, LOG_LENGTH)

    async def finish(self, *, unfenced: bool) -> None:
        """Write the slice; a worker that lost its position gives it up.

        `unfenced`: it saw the present position but keeps the documents of before, so only their guard can stop it.
        """
        if unfenced:
            self.expected = (await self.store.checkpoint(self.topic_partition)).position
        documents: dict[tuple[DocumentKind, str], GuardedDocument] = {}
        for index, owner in enumerate(self.owners):
            if owner not in self.documents:
                continue
            before = self.documents[owner]
            seen = json.loads(before.data or b"[]")
            fresh = [
                o for o in range(self.start, self.end) if o % OWNERS == index and o > before.applied_offset(self.topic_partition)
            ]
            if fresh:
                data = json.dumps([*seen, *fresh]).encode()
                documents["fragment", owner] = GuardedDocument(data, self.topic_partition.guard_name, fresh[-1])
        position = max(self.end, self.expected or 0)
        with contextlib.suppress(StateLost):
            await self.store.save(self.topic_partition, self.expected, position, Writes(documents=documents))
        self.documents, self.start, self.end = {}, 0, 0


UNTIMED = (HealthCheck.function_scoped_fixture, HealthCheck.too_slow)
STEPS = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from(["begin", "finish", "finish unfenced"]), st.integers(4, 9), st.integers(0, 3)),
    min_size=5,
    max_size=20,
)


async def check_interleaving(store: ProfileStore, steps: list[tuple[int, str, int, int]]) -> None:
    """Let two workers take these steps, then one finish the log; assert that each owner's document has each offset once."""
    topic_partition, owners = TopicPartition(uuid.uuid4().hex, 0, 1), [uuid.uuid4().hex for _ in range(OWNERS)]
    workers = [FencedWorker(store, topic_partition, owners) for _ in range(2)]
    for who, action, size, margin in steps:
        if action == "begin":
            await workers[who].begin(size, margin)
        else:
            await workers[who].finish(unfenced=action == "finish unfenced")
    while ((await store.checkpoint(topic_partition)).position or 0) < LOG_LENGTH:
        await workers[0].begin(5, 1)
        await workers[0].finish(unfenced=False)
    for index, (owner, document) in enumerate((await store.documents("fragment", owners)).items()):
        assert owner == owners[index]
        assert json.loads(document.data or b"[]") == list(range(index, LOG_LENGTH, OWNERS))
        assert document.offset == max(range(index, LOG_LENGTH, OWNERS))


@pytest.mark.parametrize("store", ["memory"], indirect=True)
@given(steps=STEPS)
@settings(max_examples=400, suppress_health_check=UNTIMED)
async def test_a_worker_and_its_zombie_end_as_one_worker_in_memory(
    store: ProfileStore, steps: list[tuple[int, str, int, int]]
) -> None:
    await check_interleaving(store, steps)


@pytest.mark.parametrize("store", REAL, indirect=True)
@given(steps=STEPS)
@settings(max_examples=rounds(quick=80, thorough=400), suppress_health_check=UNTIMED)
async def test_a_worker_and_its_zombie_end_as_one_worker_on_redis(
    store: ProfileStore, steps: list[tuple[int, str, int, int]]
) -> None:
    await check_interleaving(store, steps)
