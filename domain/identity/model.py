"""The values that identity is made of: labels, members, evidence and decisions, and the neighbours of a node. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from schemas.instants import DAY_MS

MAX_NEIGHBOURS: Final = 2_000
"""A node seen with more than this many others names nobody, whatever its namespace: it is crowded."""

Pair = tuple[str, str]


def ordered_pair(a: str, b: str) -> Pair:
    """The two nodes in their order."""
    return (a, b) if a < b else (b, a)


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
        earliest = min(self, other, key=lambda e: (e.first_ms, e.first_event, e.source, e.owner, e.rule, e.rules))
        latest = min(self, other, key=lambda e: (-e.last_day, e.last_ms, e.last_event))
        return replace(earliest, last_ms=latest.last_ms, last_event=latest.last_event)


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
class Neighbours:
    """All that is kept of one node's pairs, by the other node. `crowded`: there are more than MAX_FIELDS, none of which is read."""

    edges: Mapping[str, Edge] = field(default_factory=dict)
    decisions: Mapping[tuple[DecisionKind, str], Decision] = field(default_factory=dict)
    crowded: bool = False


Edges = dict[Pair, Edge]
Decisions = dict[tuple[DecisionKind, str, str], Decision]
