"""Assigned partitions: which partitions a worker has, and the position of each that the worker has seen in the store.

**Why.** This memory answers three questions. Where must a partition start when it is assigned? Has the store lost writes that this
worker has seen? When must the timers' loop read the store again?

**Invariant.** The position of a partition in the store never moves back. So the largest position that this worker has seen is a
lower bound for every position that it reads later, and a smaller one proves that the store lost writes. The memory lasts for one
assignment only: between two assignments another worker may have moved the positions, so each assignment reads them again.

**Starting too early is always right.** The store saves a position together with the state that the position stands for. So records
before the position are applied, and a replay of them changes nothing. On assignment a partition starts at the stored position at
the latest. `ONEFOLD_REPLAY_MARGIN` makes it start that many records earlier: a failover of Redis may lose single writes of the last
instant although it keeps a newer position.

**Example.** The store has position 10 000 for partition 3 and the margin is 1 000: the partition starts at offset 9 000 or earlier.
The worker applies offsets up to 10 499, so the position it knows is 10 500. Redis fails over to a replica that has 10 200. The next
load returns 10 200, `check` raises StateLost, and the process starts again: assigned anew, the partition starts at 9 200 and
applies what was lost.
"""

from collections.abc import Collection, Mapping
from typing import Final

from profile_store.port import ProfileStore, TopicPartition
from runtime.bus.port import Bus, Partition
from runtime.errors import StateLost
from schemas.instants import NEVER

NEVER_WRITTEN: Final = 0
"""The position of a partition that was never written: all of its records are still to be applied."""
AT_ONCE: Final = 0
"""An instant that has always passed. It stands for an unknown earliest timer: some timers may be due now."""


class AssignedPartitions:
    """The partitions of one agent. `topic` is the register's name. `store` is None for an agent that keeps no state there."""

    def __init__(self, bus: Bus, store: ProfileStore | None, topic: str, replay_margin: int) -> None:
        self._bus = bus
        self._store = store
        self._topic = topic
        self._margin = replay_margin
        self._topic_partitions: dict[int, TopicPartition] = {}
        self._positions: dict[TopicPartition, int] = {}
        self._earliest_timers: dict[TopicPartition, int] = {}
        self._fences: dict[TopicPartition, int] = {}

    def all(self) -> tuple[TopicPartition, ...]:
        """Return the partitions that are assigned now."""
        return tuple(self._topic_partitions.values())

    def get(self, partition: int) -> TopicPartition | None:
        """Return an assigned partition by its number; None when it is not assigned."""
        return self._topic_partitions.get(partition)

    async def assign(self, partitions: Collection[Partition]) -> Mapping[Partition, int]:
        """Replace the assignment by these partitions. Return for each of them the largest offset that it may start from.

        For an agent without a store the answer is empty: the committed offsets alone decide where it starts. Raises Transient; the
        caller may then call it again, because every call begins without any memory of an earlier one.
        """
        self._topic_partitions = {}
        self._positions = {}
        self._earliest_timers = {}
        self._fences = {}
        if not partitions:
            return {}
        partition_count = len(await self._bus.end_offsets(next(iter(partitions)).topic))
        starts: dict[Partition, int] = {}
        for partition in partitions:
            topic_partition = TopicPartition(self._topic, partition.number, partition_count)
            if self._store is not None:
                position = (await self._store.checkpoint(topic_partition)).position or NEVER_WRITTEN
                self._positions[topic_partition] = position
                starts[partition] = max(0, position - self._margin)
            self._topic_partitions[partition.number] = topic_partition
            # Another worker has set timers until now, and this one knows none of them.
            self._earliest_timers[topic_partition] = AT_ONCE
        return starts

    def check(self, topic_partition: TopicPartition, position: int | None) -> None:
        """Raise StateLost when `position`, just read from the store, is behind one that this worker has seen there."""
        _require_position(topic_partition, position, self._positions.get(topic_partition, NEVER_WRITTEN))

    def advance(self, topic_partition: TopicPartition, position: int, earliest_timer_ms: int = NEVER) -> None:
        """Record a save that moved the position, if the partition is still assigned.

        The save set no timer for an instant before `earliest_timer_ms`.
        """
        if topic_partition in self._positions:
            self._positions[topic_partition] = position
            self._earliest_timers[topic_partition] = min(self._earliest_timers.get(topic_partition, NEVER), earliest_timer_ms)

    def mark_timers_unknown(self, topic_partition: TopicPartition) -> None:
        """Record that timers may have been set for any instant.

        There are two occasions. After a save whose earlier tries failed, one of these tries may have reached the store with other
        timers. After the writers were fenced, the process that fenced them may have set timers.
        """
        if topic_partition in self._positions:
            self._earliest_timers[topic_partition] = AT_ONCE

    def position(self, topic_partition: TopicPartition) -> int:
        """Return the position that the store has at least: all records before that offset are applied."""
        return self._positions.get(topic_partition, NEVER_WRITTEN)

    def pop_earliest_timer(self, topic_partition: TopicPartition) -> int:
        """Return the earliest instant (ms) for which timers may have been set since the last call; NEVER when none was."""
        return self._earliest_timers.pop(topic_partition, NEVER)

    async def check_all(self) -> None:
        """Check every partition against the store, so that a loss shows where no records come. Raises StateLost, or Transient."""
        if self._store is None:
            return
        for topic_partition, known_position in list(self._positions.items()):
            checkpoint = await self._store.checkpoint(topic_partition)
            # Compare with the position from before the call: a slice may have moved the position meanwhile, and the answer may be
            # the older one. If the partition was revoked meanwhile, another worker moves its position, and nothing is compared.
            if topic_partition in self._positions:
                _require_position(topic_partition, checkpoint.position, known_position)
            # None: the fence has not been read since the assignment, and `assign` has marked all timers as unknown already.
            if self._fences.get(topic_partition) not in (None, checkpoint.fence):
                self.mark_timers_unknown(topic_partition)
            self._fences[topic_partition] = checkpoint.fence


def _require_position(topic_partition: TopicPartition, position: int | None, known_position: int) -> None:
    """Raise StateLost when `position` is behind `known_position`."""
    if (position or NEVER_WRITTEN) < known_position:
        raise StateLost(f"{topic_partition.guard_name}: the store is at position {position}, it was at {known_position} before")
