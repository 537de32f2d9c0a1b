"""The partitions of a profile store whose writers are paused, and writing documents in place of their agents.

**Why.** A backfill changes documents that agents own. It may do so only while no agent can write, and it must leave each
document guarded as if the agent itself had written it, so that the agent's replays of older records are refused afterwards.

**Invariant.** A document that was written here has the guard of its partition at the last offset that it stands for. So
whatever the agent reads again up to that offset changes nothing, and whatever comes after that is applied.

**Example.** Partition 3 of `events` has the position 500. A fragment was last written at offset 420, so it has seen
everything of its owner up to 499, because nothing of the partition before the position is missing in any document. It is
written with the guard at 499. After a crash the agent may read from 480 again: its writes at 480 to 499 are refused, and the
one at 500 is taken.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from ops.writers_pause import topic_partitions_of
from profile_store.port import DocumentKind, GuardedDocument, ProfileStore, TopicPartition, Writes
from runtime.bus.partitioner import partition_of
from runtime.bus.port import Bus
from runtime.settings import Settings

TOPICS: Final = ("events", "links", "touched", "groups")
"""The topics whose agents keep state in the profile store: all of them are fenced."""
DocumentWrites = dict[TopicPartition, dict[tuple[DocumentKind, str], tuple[bytes, GuardedDocument]]]
"""By topic partition, the new bytes of documents and the documents as they were read."""


@dataclass(slots=True)
class PausedPartitions:
    """The fenced partitions of one pause; of no use once the pause has ended.

    `topic_partitions` are by topic and partition number. `positions` are the positions that the store has for them, None when
    it was never written; a write changes None to 0.
    """

    store: ProfileStore
    topic_partitions: Mapping[str, Mapping[int, TopicPartition]]
    positions: dict[TopicPartition, int | None]

    @classmethod
    async def fence(cls, settings: Settings, bus: Bus, store: ProfileStore) -> "PausedPartitions":
        """Fence the writers of every partition; call this while they are paused.

        The pause alone is not enough: a worker may have loaded its slice just before it, and would save it at any time after. The
        fence makes that save fail, and a worker that loads again sees the pause and waits. Raises Transient.
        """
        topic_partitions: dict[str, dict[int, TopicPartition]] = {topic: {} for topic in TOPICS}
        positions: dict[TopicPartition, int | None] = {}
        for topic_partition in await topic_partitions_of(settings, bus, *TOPICS):
            topic_partitions[topic_partition.topic][topic_partition.partition] = topic_partition
            # The position comes with the fence: one that is read before it may be older than the last save.
            positions[topic_partition] = (await store.fence_writers(topic_partition)).position
        return cls(store, topic_partitions, positions)

    def offsets(self, topic: str) -> dict[int, int]:
        """Return by partition the next offset that the topic's agent will apply."""
        return {
            partition: self.positions[topic_partition] or 0 for partition, topic_partition in self.topic_partitions[topic].items()
        }

    def topic_partition_of(self, topic: str, key: str) -> TopicPartition:
        """Return the topic partition that records with this key are in, and whose agent owns the document of that name."""
        by_number = self.topic_partitions[topic]
        return by_number[partition_of(key.encode(), len(by_number))]

    def applied_offset(self, topic_partition: TopicPartition, document: GuardedDocument) -> int:
        """Return the last offset of its partition that a document stands for.

        It may be ahead of the position: a worker writes documents first, and may have died before it wrote the position.
        """
        # A position is the next offset to apply, and a guard the last one that was applied.
        return max(document.applied_offset(topic_partition), (self.positions[topic_partition] or 0) - 1)

    async def write_documents(
        self, topic_partition: TopicPartition, documents: Mapping[tuple[DocumentKind, str], tuple[bytes, GuardedDocument]]
    ) -> None:
        """Replace the data of documents of one partition, and leave their guards and the position as they are.

        The store refuses a write whose offset is not larger than the stored one, so a document that was last written at the
        very offset that it stands for would be refused. Such a document is written under another guard first, which clears
        the comparison, and then under its own. Interrupted in between it has a guard that refuses nothing; until the backfill
        is run again, the message ids that a fragment remembers keep replayed events from counting twice. Raises Transient.
        """
        guarded = {
            name: GuardedDocument(data, topic_partition.guard_name, self.applied_offset(topic_partition, before))
            for name, (data, before) in documents.items()
        }
        refused = await self._save(topic_partition, guarded)
        # A refusal means that the stored offset is equal: `applied_offset` is never smaller than it.
        if refused:
            other_guard = f"backfill {topic_partition.guard_name}"
            await self._save(topic_partition, {name: replace(guarded[name], guard=other_guard) for name in refused})
            await self._save(topic_partition, {name: guarded[name] for name in refused})

    async def _save(
        self, topic_partition: TopicPartition, documents: Mapping[tuple[DocumentKind, str], GuardedDocument]
    ) -> frozenset[tuple[DocumentKind, str]]:
        expected_position = self.positions[topic_partition]
        refused = await self.store.save(topic_partition, expected_position, expected_position or 0, Writes(documents=documents))
        # A save stores the position as well, so a partition that was never written has position 0 from now on.
        self.positions[topic_partition] = expected_position or 0
        return refused
