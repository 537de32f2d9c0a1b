"""What Onefold asks of a broker. The Kafka driver and the in-memory twin keep the same promises: one contract suite tests both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, Self

from runtime.bus.epochs import LogIdentity

ENFORCED_CONFIG: Final = frozenset({"message.timestamp.type"})
"""The settings of a topic without which its records mean something else."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record to write. `topic` is the full name on the broker, `<environment>.<name>`.

    Without a `partition` the key chooses it, by murmur2 as in Java's client.
    """

    topic: str
    value: bytes | None
    key: bytes | None = None
    partition: int | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """A record of the broker. (topic, partition, offset) identifies it for ever: offsets count on from log to log (`epochs`)."""

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
    """Writes records. Idempotent, with acks=all: a send that returned is durable, and its own retries write nothing twice."""

    async def send(self, records: Sequence[Outgoing]) -> list[tuple[int, int]]:
        """Write all records and wait for all of them; return (partition, offset) of each, in order.

        Records of one partition keep their order. Raises Transient when the broker cannot be reached within the
        bound (some records may have been written), Permanent when a record can never be written (too large, unknown topic).
        """
        ...

    async def aclose(self) -> None:
        """Flush what is under way and close the connections."""
        ...


class Consumer(Protocol):
    """A member of a consumer group. Delivery is at least once, provided that the caller commits after the effect is durable.

    Only records of committed transactions, and those written without one, are returned.
    """

    async def poll(self, timeout_ms: int, max_records: int) -> dict[Partition, list[Record]]:
        """Return records by partition, in offset order; an empty dict when none arrives within `timeout_ms`.

        A group that has no commit for a partition starts at its earliest record.
        """
        ...

    @property
    def generation(self) -> int:
        """How often partitions were assigned to this member: after a change, what it knew of its partitions may be out of date.

        Every partition is then read again from what is committed, also one that stayed with this member.
        """
        ...

    def assigned(self) -> frozenset[Partition]:
        """Return the partitions that this member has now: a poll returns records of these alone.

        Members that subscribe to the same topics get the same numbers of every topic that has as many partitions.
        """
        ...

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        """Store the next offset to read of each partition. Partitions that a rebalance took away are ignored.

        Offsets without a record that follow the last record are passed over, as far as the polls have come.
        """
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
    """A broker. While it has another log than the one that the stores belong to, every call raises AnotherLog."""

    async def producer(self) -> Producer:
        """Connect a new producer."""
        ...

    async def consumer(self, group: str, topics: Sequence[str]) -> Consumer:
        """Connect a new member of `group`, which shares the partitions of `topics` with the other members."""
        ...

    async def reader(self, topics: Sequence[str]) -> Reader:
        """Connect a new reader of `topics`. Raises Permanent when one of them does not exist."""
        ...

    async def end_offsets(self, topic: str) -> dict[int, int]:
        """Return the end of what can be read, by partition: the next offset to be written, or the first of an open transaction."""
        ...

    async def start_offsets(self, topic: str) -> dict[int, int]:
        """Return the earliest offset that the broker still has, by partition."""
        ...

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        """Return the group's committed offset by partition; partitions without one are missing."""
        ...

    async def create_topics(self, topics: Mapping[str, tuple[int, Mapping[str, str]]]) -> None:
        """Create the topics (name to partitions and config) that do not exist yet.

        Of the configuration of a topic that exists, what ENFORCED_CONFIG names is corrected; the rest is the operator's.
        """
        ...

    @property
    def first_offset(self) -> int:
        """The offset at which the partitions of this log begin (`epochs`). Only valid once the bus was used."""
        ...

    @property
    def in_use(self) -> bool:
        """Whether a log was ever used. Until then the process waits, and has nothing in memory that stands for a log."""
        ...

    async def log_identity(self, topics: Sequence[str]) -> LogIdentity:
        """Return what tells this log from another one. Topics that do not exist are missing. Raises Transient."""
        ...

    async def ping(self) -> None:
        """Ask the broker which log it has.

        Raises Transient when it does not answer in time, AnotherLog when it is not the one that the stores belong to.
        """
        ...

    def waits(self) -> list[str]:
        """Return a sentence when the bus waits for an operator, because Kafka has another log; nothing otherwise."""
        ...

    async def aclose(self) -> None:
        """Close the connections that this bus itself has opened; producers and consumers are closed by their owners."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exc: object) -> None: ...
