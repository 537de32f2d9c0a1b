"""The port of the profile store. The Redis drivers and MemoryStore make the same promises.

Checkpoint: beside the state that a slice changed, `save` stores the partition's next offset in one step. So after a crash a worker
continues exactly where the state is, and what it replays changes nothing.

Guard: a document is written as a whole with one compare-and-set on one key. The write is refused when the stored document was
written by the same partition at the same or a larger offset. So a replay does no harm, nor does a worker that has lost its
partition without knowing it. When the number of partitions changes, the guard names another partition and the write is accepted.

Fence: each partition has a number that `fence_writers` raises. A save that gives an older number is refused. So a worker that
loaded state before the fence was raised cannot write what it decided from that state.

Example: worker A loads events:3/12 at position 100 and stalls. Worker B takes over and saves offsets 100 to 149, so the position
is 150. A wakes up and saves with `expected` = 100. The stored position is 150: A gets StateLost, and nothing of its slice is
written.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from domain.identity.model import MAX_NEIGHBOURS, Decision, DecisionKind, Edge, Label, Members, Neighbours
from runtime.bus.epochs import AdoptedLog

DocumentKind = Literal["fragment", "membership", "group", "link_outbox", "backfill_checkpoint"]
ScannableKind = Literal["fragment", "membership", "group", "label", "members", "edges"]

MAX_FIELDS: Final = MAX_NEIGHBOURS + 1_000
"""How many trusted edges and decisions of one node are read at most, and how many public edges; of more none is read."""


@dataclass(frozen=True, slots=True)
class TopicPartition:
    """A partition of a topic, with the number of partitions that the topic has.

    The number is a part of the identity: when it changes, keys go to other partitions, and earlier offsets mean nothing.
    """

    topic: str
    partition: int
    partition_count: int

    @property
    def guard_name(self) -> str:
        """Return the name of the partition in guards of documents and in keys of the store, such as `events:3/12`."""
        return f"{self.topic}:{self.partition}/{self.partition_count}"


DEFINITIONS_PARTITION: Final = TopicPartition("definitions", 0, 1)
"""A pseudo partition whose position is the `definitions_offset` of every checkpoint. Registers in the store were backfilled for the
definitions before that offset, so a worker that has read fewer definitions must wait before it evaluates."""


@dataclass(frozen=True, slots=True)
class GuardedDocument:
    """A document as stored, and its guard.

    `data` is None when the document is absent. `guard` is the `guard_name` of the partition that wrote it, and `offset` the last
    offset of that partition which the data contains.
    """

    data: bytes | None = None
    guard: str = ""
    offset: int = -1

    def applied_offset(self, topic_partition: TopicPartition) -> int:
        """Return the last offset of `topic_partition` that the document contains, or -1 when another partition wrote it."""
        return self.offset if self.guard == topic_partition.guard_name else -1


@dataclass(frozen=True, slots=True)
class Writes:
    """Everything that one slice changes in the store.

    Attributes:
        documents: guarded documents by kind and id.
        labels: the labels of nodes.
        members: the member lists of profiles.
        edges: evidence by pair; the store keeps it at both nodes.
        decisions: decisions of people by kind and pair; the store keeps them at both nodes.
        timers: the due time in ms by profile id; None clears the profile's timer.
    """

    documents: Mapping[tuple[DocumentKind, str], GuardedDocument] = field(default_factory=dict)
    labels: Mapping[str, Label] = field(default_factory=dict)
    members: Mapping[str, Members] = field(default_factory=dict)
    edges: Mapping[tuple[str, str], Edge] = field(default_factory=dict)
    decisions: Mapping[tuple[DecisionKind, str, str], Decision] = field(default_factory=dict)
    timers: Mapping[str, int | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What the store knows about a partition.

    Attributes:
        position: the next offset to read, as stored with the state; None when nothing was ever saved.
        paused: writers must wait, because a rebuild or a backfill is under way.
        fence: how often the partition's writers were fenced.
        definitions_offset: the position of DEFINITIONS_PARTITION; 0 when the state needs no definitions.
    """

    position: int | None
    paused: bool
    fence: int = 0
    definitions_offset: int = 0


class ProfileStore(Protocol):
    """The store of the present state. Every method raises Transient when the store does not answer within its time limit.

    Each method costs a fixed number of round trips, whatever the number of ids. Pauses of writers and settled deliveries expire by
    the clock of the worker that asks, not by that of the server: the clocks of all workers must agree within some seconds.
    """

    async def checkpoint(self, topic_partition: TopicPartition) -> Checkpoint:
        """Return the checkpoint of a partition."""
        ...

    async def load(
        self, topic_partition: TopicPartition, kind: DocumentKind, ids: Sequence[str], labels: Sequence[str] = ()
    ) -> tuple[Checkpoint, dict[str, GuardedDocument], dict[str, Label]]:
        """Return the checkpoint of a partition together with documents and labels that are not older than it.

        Every id is answered: an absent document is an empty one, an absent label is (the node itself, version 0).
        """
        ...

    async def documents(self, kind: DocumentKind, ids: Sequence[str]) -> dict[str, GuardedDocument]:
        """Return documents by id; an absent one is empty."""
        ...

    async def labels(self, nodes: Sequence[str]) -> dict[str, Label]:
        """Return labels by node; an absent one is (the node itself, version 0)."""
        ...

    async def members(self, profile_ids: Sequence[str]) -> dict[str, Members]:
        """Return member lists by profile id; an absent one holds the profile id alone, at version 0."""
        ...

    async def neighbours(self, nodes: Sequence[str]) -> dict[str, Neighbours]:
        """Return the edges and decisions of nodes; a node without any is answered with empty mappings."""
        ...

    async def save(
        self, topic_partition: TopicPartition, expected: int | None, position: int, writes: Writes, fence: int | None = None
    ) -> frozenset[tuple[DocumentKind, str]]:
        """Apply the writes of a slice and move the partition's position, all or nothing; return the documents that were refused.

        `expected` is the position that the caller loaded (None: there was none), `position` the next one, and `fence` the fence
        that the caller loaded (None: not checked). Raises StateLost when the stored position or fence differs, because another
        worker has the partition or the store lost its latest writes; at most guarded documents have been written then. The timers
        of `writes` belong to this partition.
        """
        ...

    async def fence_writers(self, topic_partition: TopicPartition) -> Checkpoint:
        """Raise the fence of a partition and return its checkpoint.

        A writer that loaded its state before this call can no longer save. If the writers were paused before the call, only the
        caller changes the partition after it.
        """
        ...

    async def due_timers(self, topic_partition: TopicPartition, until_ms: int, limit: int) -> list[tuple[str, int]]:
        """Return the timers of a partition that are due by `until_ms` as (profile id, due_ms).

        The earliest come first, those of one instant by profile id. At most `limit` are returned, and the cost does not depend on
        how many timers there are. A timer stays until a save sets it to another time or clears it.
        """
        ...

    async def next_timer(self, topic_partition: TopicPartition, after_ms: int | None = None) -> int | None:
        """Return the earliest due time of a partition's timers, later than `after_ms` if that is given, or None without a timer."""
        ...

    async def is_delivery_open(self, key: str) -> bool:
        """Return whether a delivery has not been settled yet. This reserves nothing: two workers may both get True."""
        ...

    async def settle_delivery(self, key: str, ttl_ms: int) -> None:
        """Remember for `ttl_ms` that a delivery is settled."""
        ...

    async def claim_run(self, name: str, ttl_ms: int) -> bool:
        """Claim a run for one of several processes; return whether no other call has claimed it within the last `ttl_ms`."""
        ...

    async def pause_writers(self, paused: bool) -> None:  # noqa: FBT001 - a switch
        """Pause all writers of the environment, or let them continue. A pause ends by itself after 60 s unless it is renewed.

        Writers see the pause in the checkpoint that they load; a rebuild or a backfill then works on a state that stands still.
        """
        ...

    def scan(self, kind: ScannableKind) -> AsyncIterator[tuple[str, bytes]]:
        """Yield all entries of a kind as (id, bytes), in no order; for `onefold verify`, rebuilds and backfills."""
        ...

    async def wipe(self, kinds: Collection[str]) -> None:
        """Delete all entries of these kinds. Raises ValueError for a kind that is not in `keys.KIND_LETTERS`."""
        ...

    async def adopted_log(self) -> AdoptedLog | None:
        """Return the Kafka log that the positions of this store stand for; None when that was never stored."""
        ...

    async def adopt_log(self, adopted: AdoptedLog) -> None:
        """Remember which log the positions stand for from now on. `wipe` does not forget it."""
        ...

    async def ping(self) -> None:
        """Return when the store answers; raise Transient when it does not answer in time."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...
