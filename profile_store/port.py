"""What Onefold asks of the store of what is true now. The Redis driver and the in-memory twin keep the same promises.

A *guarded* document is written as a whole with one single-slot compare-and-set: the write is refused when the stored document was
written by the same partition at an offset that is not smaller. So replays and zombie workers are harmless. When the number of
partitions changes the guard names another partition, and the write is taken.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, Protocol

Kind = Literal["fragment", "membership", "group", "unsaid"]
Scanned = Literal["fragment", "membership", "group", "label", "members", "edges"]

DAY_MS: Final = 86_400_000
MAX_NEIGHBOURS: Final = 2_000
"""A node seen with more than this many others names nobody, whatever its namespace: it is crowded."""
MAX_FIELDS: Final = MAX_NEIGHBOURS + 1_000
"""More edges and decisions of one node than this are not read: the node is crowded anyway."""


@dataclass(frozen=True, slots=True)
class Place:
    """Which partition a worker speaks for. `name` is what guards and positions are kept under."""

    topic: str
    partition: int
    partitions: int

    @property
    def name(self) -> str:
        return f"{self.topic}:{self.partition}/{self.partitions}"


DEFINITIONS: Final = Place("definitions", 0, 1)
"""The place whose position is the next offset of the definitions that the state presumes: whoever knows fewer of them waits."""


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
    """The nodes of a profile, and what the last change of them was. A profile without nodes is dissolved.

    `merged_into` is the profile that a dissolved one went into; `split_from` the one that a profile's nodes were part of before.
    `cause` is the event or the operation behind the change, `at_ms` when it was decided.
    """

    nodes: tuple[str, ...]
    version: int
    merged_into: str = ""
    split_from: str = ""
    cause: str = ""
    at_ms: int = 0


@dataclass(frozen=True, slots=True)
class Edge:
    """Evidence between two nodes that were seen together.

    `first_ms` is the earliest event, `last_ms` the earliest of the latest day (a day is enough to know what is newer, and saves
    saying every event again). `owner` is the fragment of the first event, `rule` what made it evidence, `rules` the version of
    the identity rules then.
    """

    first_ms: int
    first_event: str
    last_ms: int
    last_event: str
    source: str
    owner: str = ""
    rule: str = "together"
    rules: str = ""

    @property
    def last_day(self) -> int:
        """The day last seen, in days since 1970."""
        return self.last_ms // DAY_MS

    def join(self, other: "Edge") -> "Edge":
        """The evidence of both; commutative, associative, idempotent."""
        first = min(self, other, key=lambda e: (e.first_ms, e.first_event, e.source, e.owner, e.rule, e.rules))
        last = min(self, other, key=lambda e: (-e.last_day, e.last_ms, e.last_event))
        return replace(first, last_ms=last.last_ms, last_event=last.last_event)


DecisionKind = Literal["cut", "apart"]


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person said of two nodes: their edge is `cut`, or they must stay `apart`. The register of a pair: the latest wins."""

    on: bool
    at_ms: int
    operation: str

    def join(self, other: "Decision") -> "Decision":
        """The later one; of two of one instant the one whose operation sorts last."""
        return max(self, other, key=lambda d: (d.at_ms, d.operation, d.on))


@dataclass(frozen=True, slots=True)
class Ties:
    """All that is kept of one node's pairs, by the other node. `crowded`: there are more than MAX_FIELDS, none of which is read."""

    edges: Mapping[str, Edge] = field(default_factory=dict)
    decisions: Mapping[tuple[DecisionKind, str], Decision] = field(default_factory=dict)
    crowded: bool = False


@dataclass(frozen=True, slots=True)
class Writes:
    """All that one slice changes. Applied in one pipeline, the position last."""

    documents: Mapping[tuple[Kind, str], Document] = field(default_factory=dict)
    labels: Mapping[str, Label] = field(default_factory=dict)
    members: Mapping[str, Members] = field(default_factory=dict)
    edges: Mapping[tuple[str, str], Edge] = field(default_factory=dict)
    decisions: Mapping[tuple[DecisionKind, str, str], Decision] = field(default_factory=dict)
    timers: Mapping[str, int | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a place stands: the next offset stored beside its state (None: never written), and whether writers must hold.

    `fence` says how often the place's writers were shut out, `definitions` is the position of DEFINITIONS (0: none is presumed).
    """

    position: int | None
    held: bool
    fence: int = 0
    definitions: int = 0


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

    async def ties(self, nodes: Sequence[str]) -> dict[str, Ties]:
        """Evidence and decisions of nodes; a node without any is answered with empty ones."""
        ...

    async def save(
        self, place: Place, expected: int | None, position: int, writes: Writes, fence: int | None = None
    ) -> frozenset[tuple[Kind, str]]:
        """Apply a slice's writes, then store `position` (the next offset). Returns the documents that were refused.

        Timers go with the shard of `place`; None clears one. `expected` is the position the caller saw; when the stored one
        is another by now, nothing but guarded documents may have been written and StateLost is raised (a zombie, or a store
        that came back without its last writes). The same when `fence` is given and the stored one is another: whatever was
        decided on what was loaded before that must not be written.
        """
        ...

    async def shut_out(self, place: Place) -> Standing:
        """Raise a place's fence: what its writers have loaded before can be saved no more. Returns where it stands then.

        Under a hold that began before, nothing of the place changes after that, but by whoever holds.
        """
        ...

    async def due_timers(self, place: Place, until_ms: int, limit: int) -> list[tuple[str, int]]:
        """Timers of a place's shard that are due: (profile id, due_ms), earliest first, of one instant by profile id.

        At most `limit` of them, at a cost that does not depend on how many are set. They stay until set anew or cleared.
        """
        ...

    async def next_timer(self, place: Place, after_ms: int | None = None) -> int | None:
        """The earliest due_ms of a place's shard, of those after `after_ms` if that is given; None when there is none."""
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

    def scan(self, kind: Scanned) -> AsyncIterator[tuple[str, bytes]]:
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
