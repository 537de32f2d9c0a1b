"""What Onefold asks of the store of what is true now. The Redis driver and the in-memory twin keep the same promises.

A *guarded* document is written as a whole with one single-slot compare-and-set: the write is refused when the stored document was
written by the same partition at an offset that is not smaller. So replays and zombie workers are harmless. When the number of
partitions changes the guard names another partition, and the write is taken.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from domain.identity.model import MAX_NEIGHBOURS, Decision, DecisionKind, Edge, Label, Members, Neighbours

DocumentKind = Literal["fragment", "membership", "group", "link_outbox", "backfill_checkpoint"]
ScannableKind = Literal["fragment", "membership", "group", "label", "members", "edges"]

MAX_FIELDS: Final = MAX_NEIGHBOURS + 1_000
"""More edges and decisions of one node than this are not read: the node is crowded anyway."""


@dataclass(frozen=True, slots=True)
class TopicPartition:
    """Which partition a worker speaks for. `guard_name` is what guards and positions are kept under."""

    topic: str
    partition: int
    partition_count: int

    @property
    def guard_name(self) -> str:
        return f"{self.topic}:{self.partition}/{self.partition_count}"


DEFINITIONS_PARTITION: Final = TopicPartition("definitions", 0, 1)
"""The place whose position is the next offset of the definitions that the state presumes: whoever knows fewer of them waits."""


@dataclass(frozen=True, slots=True)
class GuardedDocument:
    """A guarded document as stored; `data` is None when absent. `offset` is the last one applied by `guard` (a Place's name)."""

    data: bytes | None = None
    guard: str = ""
    offset: int = -1

    def applied_offset(self, topic_partition: TopicPartition) -> int:
        """The last offset of `topic_partition` that this document has seen; -1 when none."""
        return self.offset if self.guard == topic_partition.guard_name else -1


@dataclass(frozen=True, slots=True)
class Writes:
    """All that one slice changes. Applied in one pipeline, the position last."""

    documents: Mapping[tuple[DocumentKind, str], GuardedDocument] = field(default_factory=dict)
    labels: Mapping[str, Label] = field(default_factory=dict)
    members: Mapping[str, Members] = field(default_factory=dict)
    edges: Mapping[tuple[str, str], Edge] = field(default_factory=dict)
    decisions: Mapping[tuple[DecisionKind, str, str], Decision] = field(default_factory=dict)
    timers: Mapping[str, int | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where a place stands: the next offset stored beside its state (None: never written), and whether writers must hold.

    `fence` says how often the place's writers were shut out, `definitions_offset` is the position of DEFINITIONS (0: none is
    presumed).
    """

    position: int | None
    paused: bool
    fence: int = 0
    definitions_offset: int = 0


class ProfileStore(Protocol):
    """All methods raise Transient when the store cannot be reached within their bound. One round trip each, whatever the size."""

    async def checkpoint(self, topic_partition: TopicPartition) -> Checkpoint:
        """The stored position of a place and the hold."""
        ...

    async def load(
        self, topic_partition: TopicPartition, kind: DocumentKind, ids: Sequence[str], labels: Sequence[str] = ()
    ) -> tuple[Checkpoint, dict[str, GuardedDocument], dict[str, Label]]:
        """Documents and labels with the place's standing. Every id asked for is answered: an absent label is (node itself, 0)."""
        ...

    async def documents(self, kind: DocumentKind, ids: Sequence[str]) -> dict[str, GuardedDocument]:
        """Documents alone."""
        ...

    async def labels(self, nodes: Sequence[str]) -> dict[str, Label]:
        """Labels; an absent one is (node itself, 0)."""
        ...

    async def members(self, profile_ids: Sequence[str]) -> dict[str, Members]:
        """Members; an absent entry is the profile id alone, version 0."""
        ...

    async def neighbours(self, nodes: Sequence[str]) -> dict[str, Neighbours]:
        """Evidence and decisions of nodes; a node without any is answered with empty ones."""
        ...

    async def save(
        self, topic_partition: TopicPartition, expected: int | None, position: int, writes: Writes, fence: int | None = None
    ) -> frozenset[tuple[DocumentKind, str]]:
        """Apply a slice's writes, then store `position` (the next offset). Returns the documents that were refused.

        Timers go with the shard of `topic_partition`; None clears one. `expected` is the position the caller saw; when the
        stored one
        is another by now, nothing but guarded documents may have been written and StateLost is raised (a zombie, or a store
        that came back without its last writes). The same when `fence` is given and the stored one is another: whatever was
        decided on what was loaded before that must not be written.
        """
        ...

    async def fence_writers(self, topic_partition: TopicPartition) -> Checkpoint:
        """Raise a place's fence: what its writers have loaded before can be saved no more. Returns where it stands then.

        Under a hold that began before, nothing of the place changes after that, but by whoever holds.
        """
        ...

    async def due_timers(self, topic_partition: TopicPartition, until_ms: int, limit: int) -> list[tuple[str, int]]:
        """Timers of a place's shard that are due: (profile id, due_ms), earliest first, of one instant by profile id.

        At most `limit` of them, at a cost that does not depend on how many are set. They stay until set anew or cleared.
        """
        ...

    async def next_timer(self, topic_partition: TopicPartition, after_ms: int | None = None) -> int | None:
        """The earliest due_ms of a place's shard, of those after `after_ms` if that is given; None when there is none."""
        ...

    async def is_delivery_open(self, key: str) -> bool:
        """Whether a delivery key is not settled yet."""
        ...

    async def settle_delivery(self, key: str, ttl_ms: int) -> None:
        """Remember a delivery key as settled for `ttl_ms`."""
        ...

    async def claim_run(self, name: str, ttl_ms: int) -> bool:
        """Claim a run that one process of several is to do; return whether this call was the first one within `ttl_ms`."""
        ...

    async def pause_writers(self, paused: bool) -> None:  # noqa: FBT001 - a switch
        """Ask every writer to wait (a rebuild is under way), or let them go on. A hold lapses by itself after 60 s."""
        ...

    def scan(self, kind: ScannableKind) -> AsyncIterator[tuple[str, bytes]]:
        """All entries of a kind as (id, bytes) in no order; for verify and rebuild."""
        ...

    async def wipe(self, kinds: Collection[str]) -> None:
        """Delete all entries of these kinds (those of `keys.LETTERS`)."""
        ...

    async def ping(self) -> None:
        """Ask the store; raises Transient when it does not answer in time."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...
