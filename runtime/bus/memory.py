"""The in-memory twin of a broker: what Kafka promises, in one process and one event loop. For tests and simulations."""

import asyncio
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Self

from runtime.bus.epochs import LogIdentity, first_offset
from runtime.bus.partitioner import partition_of
from runtime.bus.port import Outgoing, Partition, Record
from runtime.bus.record_limits import check_record
from runtime.clock import Clock, SystemClock
from runtime.errors import Permanent


@dataclass(slots=True)
class _GroupState:
    """Members share the partitions; commits outlive them."""

    members: list["MemoryConsumer"] = field(default_factory=list)
    committed: dict[Partition, int] = field(default_factory=dict)
    generation: int = 0


class MemoryBus:
    """Topics must be created first, as on a broker that does not make them by itself.

    `epoch` is that of its log: offsets begin at `first_offset`.
    """

    def __init__(self, clock: Clock | None = None, *, epoch: int = 0) -> None:
        self._clock = clock or SystemClock()
        self.first_offset = first_offset(epoch)
        self.in_use = True
        self._cluster_id = uuid.uuid4().hex
        self._topic_ids: dict[str, str] = {}
        self._topics: dict[str, list[list[Record | None]]] = {}
        """The log of each partition; None where compaction has taken a record, so that an offset stays an index."""
        self._groups: dict[str, _GroupState] = {}
        self._keyless = count()
        self._appended = asyncio.Condition()

    async def producer(self) -> "MemoryProducer":
        return MemoryProducer(self)

    async def consumer(self, group: str, topics: Sequence[str]) -> "MemoryConsumer":
        self._require(topics)
        group_state = self._groups.setdefault(group, _GroupState())
        member = MemoryConsumer(self, topics, group_state)
        group_state.members.append(member)
        await self._rebalance(group_state)
        return member

    async def reader(self, topics: Sequence[str]) -> "MemoryConsumer":
        self._require(topics)
        return MemoryConsumer(self, topics, None)

    async def end_offsets(self, topic: str) -> dict[int, int]:
        return {number: self.first_offset + len(log) for number, log in enumerate(self._logs(topic))}

    async def start_offsets(self, topic: str) -> dict[int, int]:
        return {number: self.first_offset for number, _ in enumerate(self._logs(topic))}

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        self._logs(topic)
        offsets = self._groups.get(group, _GroupState()).committed
        return {partition.number: offset for partition, offset in offsets.items() if partition.topic == topic}

    async def create_topics(self, topics: Mapping[str, tuple[int, Mapping[str, str]]]) -> None:
        for name, (partitions, _config) in topics.items():
            self._topics.setdefault(name, [[] for _ in range(partitions)])
            self._topic_ids.setdefault(name, uuid.uuid4().hex)

    async def log_identity(self, topics: Sequence[str]) -> LogIdentity:
        return LogIdentity(self._cluster_id, {topic: self._topic_ids[topic] for topic in topics if topic in self._topic_ids})

    async def ping(self) -> None:
        return

    def waits(self) -> list[str]:
        return []

    async def aclose(self) -> None:
        return

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def compact(self, topic: str) -> None:
        """Do what a broker does with a compacted topic in its own time: keep the last record of each key, and drop deletions."""
        for log in self._logs(topic):
            last_offsets = {record.key: record.offset for record in log if record is not None}
            for index, record in enumerate(log):
                if record is not None and (record.value is None or last_offsets[record.key] != record.offset):
                    log[index] = None
        async with self._appended:
            self._appended.notify_all()

    def _logs(self, topic: str) -> list[list[Record | None]]:
        self._require([topic])
        return self._topics[topic]

    def _require(self, topics: Sequence[str]) -> None:
        for topic in topics:
            if topic not in self._topics:
                raise Permanent(f"topic {topic} does not exist: create it first")

    def _partitions(self, topics: Sequence[str]) -> Iterator[Partition]:
        return (Partition(topic, number) for topic in sorted(topics) for number in range(len(self._topics[topic])))

    async def _append(self, records: Sequence[Outgoing]) -> list[tuple[int, int]]:
        partitions = [self._choose_partition(record) for record in records]
        now_ms, positions = self._clock.now_ms(), []
        for outgoing, number in zip(records, partitions, strict=True):
            log = self._topics[outgoing.topic][number]
            offset = self.first_offset + len(log)
            positions.append((number, offset))
            log.append(Record(outgoing.topic, number, offset, now_ms, outgoing.key, outgoing.value, tuple(outgoing.headers)))
        async with self._appended:
            self._appended.notify_all()
        return positions

    def _choose_partition(self, outgoing: Outgoing) -> int:
        logs = self._logs(outgoing.topic)
        check_record(outgoing, len(logs))
        if outgoing.partition is not None:
            return outgoing.partition
        return next(self._keyless) % len(logs) if outgoing.key is None else partition_of(outgoing.key, len(logs))

    async def _rebalance(self, group: _GroupState) -> None:
        """Deal the partitions of each topic out in ranges, as Kafka's range assignor does.

        Every member goes back to what is committed, as after Kafka's eager rebalance.
        """
        group.generation += 1
        for member in group.members:
            member.positions.clear()
        for topic in sorted({topic for member in group.members for topic in member.topics}):
            subscribers = [member for member in group.members if topic in member.topics]
            partition_count = len(self._topics[topic])
            for partition in self._partitions([topic]):
                subscriber = subscribers[partition.number * len(subscribers) // partition_count]
                subscriber.positions[partition] = group.committed.get(partition, self.first_offset)
        async with self._appended:
            self._appended.notify_all()


class MemoryProducer:
    """Writes into the bus; all of a send or nothing."""

    def __init__(self, bus: MemoryBus) -> None:
        self._bus, self._closed = bus, False

    async def send(self, records: Sequence[Outgoing]) -> list[tuple[int, int]]:
        if self._closed:
            raise Permanent("the producer is closed")
        return await self._bus._append(records)

    async def aclose(self) -> None:
        self._closed = True


class MemoryConsumer:
    """A member of a group, or a reader of everything when `group` is None. `positions` is its assignment: what it reads next."""

    def __init__(self, bus: MemoryBus, topics: Sequence[str], group: _GroupState | None) -> None:
        self._bus, self._group, self._closed = bus, group, False
        self.topics = tuple(topics)
        self.positions: dict[Partition, int] = {} if group is not None else dict.fromkeys(bus._partitions(topics), bus.first_offset)

    @property
    def generation(self) -> int:
        """How often the group was rebalanced: a member that sees another value has another assignment, and must start anew."""
        return 0 if self._group is None else self._group.generation

    async def poll(self, timeout_ms: int, max_records: int) -> dict[Partition, list[Record]]:
        if self._closed:
            raise Permanent("the consumer is closed")
        if records := self._read(max_records):
            return records
        try:
            async with asyncio.timeout(timeout_ms / 1_000), self._bus._appended:
                await self._bus._appended.wait_for(self._has_unread)
                return self._read(max_records)
        except TimeoutError:
            return {}

    async def position(self, partition: Partition) -> int:
        return self.positions[partition]

    def _log(self, partition: Partition) -> list[Record | None]:
        return self._bus._topics[partition.topic][partition.number]

    def _has_unread(self) -> bool:
        return any(len(self._log(partition)) > self._index(offset) for partition, offset in self.positions.items())

    def _index(self, offset: int) -> int:
        """Return the place of an offset in the log. One of an earlier log is before everything that this log has."""
        return max(0, offset - self._bus.first_offset)

    def _read(self, remaining: int) -> dict[Partition, list[Record]]:
        polled: dict[Partition, list[Record]] = {}
        for partition in list(self.positions):
            index, log = self._index(self.positions[partition]), self._log(partition)
            if index > len(log):  # out of range: back to the earliest
                index = 0
            records: list[Record] = []
            while index < len(log) and len(records) < remaining:
                if (record := log[index]) is not None:
                    records.append(record)
                index += 1
            offset = self._bus.first_offset + index
            if not records:
                self.positions[partition] = offset  # nothing but compacted offsets is left
                continue
            # To the end of the line, so that the next poll starts with another partition.
            del self.positions[partition]
            self.positions[partition] = offset
            polled[partition] = records
            remaining -= len(records)
            if remaining <= 0:
                break
        return polled

    def assigned(self) -> frozenset[Partition]:
        return frozenset(self.positions)

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        if self._group is not None:
            self._group.committed.update({p: self._skip_empty(p, offset) for p, offset in offsets.items() if p in self.positions})

    def _skip_empty(self, partition: Partition, offset: int) -> int:
        """Return the position if nothing but compacted offsets lies between `offset` and it."""
        position = self.positions[partition]
        skipped = self._log(partition)[self._index(offset) : self._index(position)]
        return offset if any(skipped) else max(offset, position)

    async def seek(self, partition: Partition, offset: int) -> None:
        if partition in self.positions:
            self.positions[partition] = offset

    async def aclose(self) -> None:
        self._closed = True
        if self._group is not None and self in self._group.members:
            self._group.members.remove(self)
            self.positions.clear()
            await self._bus._rebalance(self._group)
