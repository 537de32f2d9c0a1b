"""Places: which partitions a worker speaks for, and how far each had come when the worker last wrote or was assigned."""

from collections.abc import Collection, Mapping
from typing import Final

from faust.types import TP

from profile_store.port import ProfileStore, TopicPartition
from runtime.bus.port import Bus
from runtime.errors import StateLost
from schemas.instants import NEVER

NEVER_WRITTEN: Final = 0
AT_ONCE: Final = 0


class AssignedPartitions:
    """The places of one agent; `topic` is the register's name. `store` is None for an agent that keeps no state there."""

    def __init__(self, bus: Bus, store: ProfileStore | None, topic: str, replay_margin: int) -> None:
        self._bus, self._store, self._topic, self._margin = bus, store, topic, replay_margin
        self._topic_partitions: dict[int, TopicPartition] = {}
        self._positions: dict[TopicPartition, int] = {}
        self._earliest_timers: dict[TopicPartition, int] = {}
        self._fences: dict[TopicPartition, int] = {}

    def all(self) -> tuple[TopicPartition, ...]:
        """The places now assigned."""
        return tuple(self._topic_partitions.values())

    def get(self, partition: int) -> TopicPartition | None:
        """The place of an assigned partition; None when it is not assigned."""
        return self._topic_partitions.get(partition)

    async def assign(self, partitions: Collection[TP]) -> Mapping[TP, int]:
        """Take these partitions; returns the offset after which each must not start.

        A place that was never written has no state, so it starts at the beginning: starting too early is always right.
        """
        self._topic_partitions, self._positions, self._earliest_timers, self._fences = {}, {}, {}, {}
        if not partitions:
            return {}
        partition_count = len(await self._bus.end_offsets(next(iter(partitions)).topic))
        starts: dict[TP, int] = {}
        for tp in partitions:
            topic_partition = TopicPartition(self._topic, tp.partition, partition_count)
            if self._store is not None:
                self._positions[topic_partition] = (await self._store.checkpoint(topic_partition)).position or NEVER_WRITTEN
                starts[tp] = max(0, self._positions[topic_partition] - self._margin)
            self._topic_partitions[tp.partition] = topic_partition
            self._earliest_timers[topic_partition] = AT_ONCE
        return starts

    def check(self, topic_partition: TopicPartition, position: int | None) -> None:
        """Raise StateLost when the store stands behind what this worker knows of it."""
        known_position = self._positions.get(topic_partition, NEVER_WRITTEN)
        if (position or NEVER_WRITTEN) < known_position:
            raise StateLost(f"{topic_partition.guard_name}: the store stands at {position}, it stood at {known_position} before")

    def advance(self, topic_partition: TopicPartition, position: int, earliest_timer_ms: int = NEVER) -> None:
        """Remember that the store stands at `position`, if the place is still this worker's; a save that moved it there has set
        no timer for an instant before `earliest_timer_ms`."""
        if topic_partition in self._positions:
            self._positions[topic_partition] = position
            self._earliest_timers[topic_partition] = min(self._earliest_timers.get(topic_partition, NEVER), earliest_timer_ms)

    def mark_timers_unknown(self, topic_partition: TopicPartition) -> None:
        """Any timers may have been set: a slice was saved after tries that failed, one of which may have taken place, or the
        writers were shut out, and whoever did that may have written."""
        if topic_partition in self._positions:
            self._earliest_timers[topic_partition] = AT_ONCE

    def position(self, topic_partition: TopicPartition) -> int:
        """Where the store stands at least, by what this worker has seen: all records before that offset were applied."""
        return self._positions.get(topic_partition, NEVER_WRITTEN)

    def pop_earliest_timer(self, topic_partition: TopicPartition) -> int:
        """The earliest instant (ms) for which timers may have been set since this was last asked; NEVER when none was."""
        return self._earliest_timers.pop(topic_partition, NEVER)

    async def check_all(self) -> None:
        """Check every place, so that a loss shows where no records come too. Raises StateLost, or Transient."""
        if self._store is None:
            return
        for topic_partition, known_position in list(self._positions.items()):
            checkpoint = await self._store.checkpoint(topic_partition)
            position = checkpoint.position
            if (position or NEVER_WRITTEN) < known_position and topic_partition in self._positions:
                raise StateLost(
                    f"{topic_partition.guard_name}: the store stands at {position}, it stood at {known_position} before"
                )
            if self._fences.get(topic_partition) not in (None, checkpoint.fence):
                self.mark_timers_unknown(topic_partition)
            self._fences[topic_partition] = checkpoint.fence
