"""What Onefold asks of a broker. The Kafka driver and the in-memory twin keep the same promises, held by one contract suite."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, Self


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record to be written. `topic` is the full name; `partition` is chosen by the key (murmur2, as Java's client) when None."""

    topic: str
    value: bytes | None
    key: bytes | None = None
    partition: int | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """A record as the broker holds it; (topic, partition, offset) names it for ever."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = field(default=())


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """One partition of a topic."""

    topic: str
    number: int


class Producer(Protocol):
    """Writes records. Idempotent, acks=all: a returned send is durable, and a retried one is not written twice."""

    async def send(self, records: Sequence[Outgoing]) -> list[tuple[int, int]]:
        """Write all records and wait for all; returns (partition, offset) of each, in order.

        Records of one partition keep their order. Raises Transient when the broker cannot be reached within the
        bound (some records may have been written), Permanent when a record can never be (too large, unknown topic).
        """
        ...

    async def aclose(self) -> None:
        """Flush what is under way and let go of the connections."""
        ...


class Consumer(Protocol):
    """A member of a consumer group over whole topics. At least once: commit after the effect is durable."""

    async def poll(self, timeout_ms: int, max_records: int) -> dict[Partition, list[Record]]:
        """Records by partition, in offset order; empty when none came in time. Starts at the earliest without a commit."""
        ...

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        """Store the next offset to read of each partition. Partitions lost to a rebalance are ignored silently."""
        ...

    async def seek(self, partition: Partition, offset: int) -> None:
        """Read `partition` from `offset` next."""
        ...

    async def aclose(self) -> None:
        """Leave the group."""
        ...


class Reader(Consumer, Protocol):
    """A consumer without a group: it reads every partition of its topics from the earliest record, and commits nothing."""

    async def position(self, partition: Partition) -> int:
        """Return the next offset to read: every record before it that the broker still has was returned by a poll.

        Offsets without a record (compaction took it, or it marks a transaction) are passed over, at the end of the topic too, by
        polls that return nothing. Raises Transient while the broker does not answer.
        """
        ...


class Bus(Protocol):
    """A broker."""

    async def producer(self) -> Producer:
        """A new producer, connected."""
        ...

    async def consumer(self, group: str, topics: Sequence[str]) -> Consumer:
        """A new member of `group` reading `topics` (all partitions, shared with the other members)."""
        ...

    async def reader(self, topics: Sequence[str]) -> Reader:
        """A new reader of `topics`."""
        ...

    async def end_offsets(self, topic: str) -> dict[int, int]:
        """The next offset to be written, by partition."""
        ...

    async def start_offsets(self, topic: str) -> dict[int, int]:
        """The earliest offset still kept, by partition."""
        ...

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        """The group's committed offset by partition; partitions without one are missing."""
        ...

    async def create_topics(self, topics: Mapping[str, tuple[int, Mapping[str, str]]]) -> None:
        """Make the topics (name → partitions, config) that do not exist yet."""
        ...

    async def ping(self) -> None:
        """Ask the broker for its metadata; raises Transient when it does not answer in time."""
        ...

    async def aclose(self) -> None:
        """Close what this bus itself has opened."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exc: object) -> None: ...
