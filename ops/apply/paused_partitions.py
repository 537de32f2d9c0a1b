"""A profile store whose writers are shut out: how far each place stands, and writing beside them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ops.writers_pause import topic_partitions_of
from profile_store.port import DocumentKind, GuardedDocument, ProfileStore, TopicPartition, Writes
from runtime.bus.partitioner import partition_of
from runtime.bus.port import Bus
from runtime.settings import Settings

TOPICS = ("events", "links", "touched", "groups")


@dataclass(slots=True)
class PausedPartitions:
    """Made under a hold, and good as long as that lasts."""

    store: ProfileStore
    topic_partitions: Mapping[str, Mapping[int, TopicPartition]]
    positions: dict[TopicPartition, int | None]

    @classmethod
    async def fence(cls, settings: Settings, bus: Bus, store: ProfileStore) -> "PausedPartitions":
        """Shut the writers of every place out: whoever loads from now on sees the hold, whatever was loaded before is refused."""
        topic_partitions: dict[str, dict[int, TopicPartition]] = {topic: {} for topic in TOPICS}
        positions: dict[TopicPartition, int | None] = {}
        for topic_partition in await topic_partitions_of(settings, bus, *TOPICS):
            topic_partitions[topic_partition.topic][topic_partition.partition] = topic_partition
            positions[topic_partition] = (await store.fence_writers(topic_partition)).position
        return cls(store, topic_partitions, positions)

    def offsets(self, topic: str) -> dict[int, int]:
        """By partition, the next offset that the topic's agent reads."""
        return {
            partition: self.positions[topic_partition] or 0 for partition, topic_partition in self.topic_partitions[topic].items()
        }

    def topic_partition_of(self, topic: str, key: str) -> TopicPartition:
        """The place whose partition a key falls into."""
        by_number = self.topic_partitions[topic]
        return by_number[partition_of(key.encode(), len(by_number))]

    def applied_offset(self, topic_partition: TopicPartition, document: GuardedDocument) -> int:
        """Up to which offset of its place a document stands for: nothing of the place before its position is missing in it."""
        return max(document.applied_offset(topic_partition), (self.positions[topic_partition] or 0) - 1)

    async def write_documents(
        self, topic_partition: TopicPartition, documents: Mapping[tuple[DocumentKind, str], tuple[bytes, GuardedDocument]]
    ) -> None:
        """Write data in place of each document, with a guard that refuses whatever comes again; the position stays.

        A document that was written at the place's very last offset is refused: that one is written under another guard first. Cut
        off in between, it has a guard that refuses nothing, and the message ids of its window do until it is written again.
        """
        guarded = {
            name: GuardedDocument(data, topic_partition.guard_name, self.applied_offset(topic_partition, before))
            for name, (data, before) in documents.items()
        }
        refused = await self._save(topic_partition, guarded)
        if refused:
            other_guard = f"backfill {topic_partition.guard_name}"
            await self._save(topic_partition, {name: replace(guarded[name], guard=other_guard) for name in refused})
            await self._save(topic_partition, {name: guarded[name] for name in refused})

    async def _save(
        self, topic_partition: TopicPartition, documents: Mapping[tuple[DocumentKind, str], GuardedDocument]
    ) -> frozenset[tuple[DocumentKind, str]]:
        expected_position = self.positions[topic_partition]
        refused = await self.store.save(topic_partition, expected_position, expected_position or 0, Writes(documents=documents))
        self.positions[topic_partition] = expected_position or 0
        return refused
