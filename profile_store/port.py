"""What Onefold asks of the store of what is true now. The Redis driver and the in-memory twin keep the same promises.

A *guarded* document is written as a whole with one single-slot compare-and-set: the write is refused when the stored document was
written by the same partition at an offset that is not smaller. So replays and zombie workers are harmless. When the number of
partitions changes the guard names another partition, and the write is taken.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

Kind = Literal["fragment", "membership"]


@dataclass(frozen=True, slots=True)
class Place:
    """Which partition a worker speaks for. `name` is what guards and positions are kept under."""

    topic: str
    partition: int
    partitions: int

    @property
    def name(self) -> str:
        return f"{self.topic}:{self.partition}/{self.partitions}"


@dataclass(frozen=True, slots=True)
class Document:
    """A guarded document as stored; `data` is None when absent. `offset` is the last one applied by `guard` (a Place's name)."""

    data: bytes | None = None
    guard: str = ""
    offset: int = -1

    def applied(self, place: Place) -> int:
        """The last offset of `place` that this document has seen; -1 when none."""
        return self.offset if self.guard == place.name else -1


@dataclass(frozen=True, slots=True)
class Label:
    """Which profile a node belongs to; `version` only grows."""

    profile_id: str
    version: int


@dataclass(frozen=True, slots=True)
class Members:
    """The nodes of a profile. A dissolved profile has none and `merged_into`."""

    nodes: tuple[str, ...]
    version: int
    merged_into: str = ""


@dataclass(frozen=True, slots=True)
class Edge:
    """Evidence between two nodes: joins by min, max and the smallest (first_ms, event_id)."""

    first_ms: int
    last_day: int
    event_id: str
    source: str

    def join(self, other: "Edge") -> "Edge":
        """The evidence of both; commutative, associative, idempotent."""
        first = min(self, other, key=lambda e: (e.first_ms, e.event_id, e.source))
        return Edge(first.first_ms, max(self.last_day, other.last_day), first.event_id, first.source)


@dataclass(frozen=True, slots=True)
class Writes:
    """All that one slice changes. Applied in one pipeline, the position last."""

    documents: Mapping[tuple[Kind, str], Document] = field(default_factory=dict)
    labels: Mapping[str, Label] = field(default_factory=dict)
    members: Mapping[str, Members] = field(default_factory=dict)
    edges: Mapping[tuple[str, str], Edge] = field(default_factory=dict)
    timers: Mapping[str, int | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a place stands: the next offset stored beside its state (None: never written), and whether writers must hold."""

    position: int | None
    held: bool


class ProfileStore(Protocol):
    """All methods raise Transient when the store cannot be reached within their bound. One round trip each, whatever the size."""

    async def standing(self, place: Place) -> Standing:
        """The stored position of a place and the hold."""
        ...

    async def load(
        self, place: Place, kind: Kind, ids: Sequence[str], labels: Sequence[str] = ()
    ) -> tuple[Standing, dict[str, Document], dict[str, Label]]:
        """Documents and labels with the place's standing. Every id asked for is answered: an absent label is (node itself, 0)."""
        ...

    async def documents(self, kind: Kind, ids: Sequence[str]) -> dict[str, Document]:
        """Documents alone."""
        ...

    async def labels(self, nodes: Sequence[str]) -> dict[str, Label]:
        """Labels; an absent one is (node itself, 0)."""
        ...

    async def members(self, profile_ids: Sequence[str]) -> dict[str, Members]:
        """Members; an absent entry is the profile id alone, version 0."""
        ...

    async def edges(self, nodes: Sequence[str]) -> dict[str, dict[str, Edge]]:
        """Evidence by node and neighbour; a node without any is answered with an empty mapping."""
        ...

    async def save(self, place: Place, expected: int | None, position: int, writes: Writes) -> frozenset[tuple[Kind, str]]:
        """Apply a slice's writes, then store `position` (the next offset). Returns the documents that were refused.

        Timers go with the shard of `place`; None clears one. `expected` is the position the caller saw; when the stored one
        is another by now, nothing but guarded documents may have been written and StateLost is raised (a zombie, or a store
        that came back without its last writes).
        """
        ...

    async def due_timers(self, place: Place, until_ms: int, limit: int) -> list[tuple[str, int]]:
        """Timers of a place's shard that are due: (profile id, due_ms), earliest first. They stay until set anew or cleared."""
        ...

    async def next_timer(self, place: Place) -> int | None:
        """The earliest due_ms of a place's shard."""
        ...

    async def claim_delivery(self, key: str) -> bool:
        """Whether a delivery key is not settled yet."""
        ...

    async def settle_delivery(self, key: str, ttl_ms: int) -> None:
        """Remember a delivery key as settled for `ttl_ms`."""
        ...

    async def hold(self, on: bool) -> None:  # noqa: FBT001 - a switch
        """Ask every writer to wait (a rebuild is under way), or let them go on. A hold lapses by itself after 60 s."""
        ...

    def scan(self, kind: Literal["fragment", "membership", "label", "members", "edges"]) -> AsyncIterator[tuple[str, bytes]]:
        """All entries of a kind as (id, bytes) in no order; for verify and rebuild."""
        ...

    async def wipe(self, kinds: Collection[str]) -> None:
        """Delete all entries of these kinds (`fragment`, `membership`, `label`, `members`, `edges`, `timer`, `position`)."""
        ...

    async def ping(self) -> None:
        """Ask the store; raises Transient when it does not answer in time."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...
