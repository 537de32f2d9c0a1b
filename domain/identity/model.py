"""The values that identity is made of: evidence, decisions of people, labels and member lists. Pure.

A *node* is an identifier as a short text: one character for its namespace's rank, then a keyed hash (see `schemas.identifiers`).
Nodes sort by strength, so in every pair the smaller node is the stronger one.

Why these types join: records of `links` may arrive twice, late and in any order, and the evidence that is stored must be the same
every time. So `Edge.join` and `Decision.join` are commutative, associative and idempotent.

Example: a cookie c and a user u are seen together on day 3 at 10:00 (event e1), on day 3 at 12:00 (e2) and on day 5 at 09:00 (e3).
Whatever the order of arrival, the edge (u, c) ends as first = (day 3 10:00, e1) and last = (day 5 09:00, e3). If e1 and e2 came by
a public source and e3 by a trusted one, it ends as first = last = (day 5 09:00, e3): trusted evidence takes the place of public.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from schemas.instants import DAY_MS

MAX_NEIGHBOURS: Final = 2_000
"""A node with more neighbours than this is crowded: its public edges are not read and join nothing, whatever its namespace. With
more trusted neighbours than this, no edge of it is read or joins anything."""


Pair = tuple[str, str]
"""Two nodes, the smaller (stronger) one first: see `ordered_pair`."""


def ordered_pair(a: str, b: str) -> Pair:
    """Return the two nodes in ascending order, so that a pair has one key whichever end it is reached from."""
    return (a, b) if a < b else (b, a)


@dataclass(frozen=True, slots=True)
class Label:
    """The profile that a node belongs to. The version only grows, so of two labels of a node the larger version is newer."""

    profile_id: str
    version: int


@dataclass(frozen=True, slots=True)
class Members:
    """The member list of one profile, and what its latest change was.

    Attributes:
        nodes: the members in ascending order. A profile without members is dissolved.
        version: the version of the labels that were written with this list.
        merged_into: for a dissolved profile, the profile that its own node belongs to now.
        split_from: for a profile that was part of another one before the change, that other profile.
        cause: the id of the event, or of the operation of a person, that caused the change.
        at_ms: when the link agent decided the change.
    """

    nodes: tuple[str, ...]
    version: int
    merged_into: str = ""
    split_from: str = ""
    cause: str = ""
    at_ms: int = 0


@dataclass(frozen=True, slots=True)
class Edge:
    """The evidence between two nodes that were seen together.

    Attributes:
        first_ms: the time of the earliest event that named both nodes; `first_event` is its id.
        last_ms: the time of the earliest event of the latest day; `last_event` is its id.
        source: the source of the first event.
        owner: the owner of the first event, whose fragment knows the values behind the nodes.
        rule: what made the event evidence: `together` (named in one event), `alias`, or `same_number` (a caller number and a phone
            of one number). Whether it is `same_number` depends on the pair alone, not on the event.
        rules: the version of the identity rules at the time of the first event.
        trusted: whether a trusted source has seen the two together. Then all of the above is about such events alone: nobody with
            a public write key can make the evidence look newer or older.
    """

    first_ms: int
    first_event: str
    last_ms: int
    last_event: str
    source: str
    owner: str = ""
    rule: str = "together"
    rules: str = ""
    trusted: bool = True

    @property
    def last_day(self) -> int:
        """Return the latest day of the evidence, in days since 1970 (UTC)."""
        return self.last_ms // DAY_MS

    def join(self, other: "Edge") -> "Edge":
        """Return the evidence of both edges, of trusted events if one of them has any; commutative, associative and idempotent."""
        if self.trusted is not other.trusted:
            return self if self.trusted else other
        # Times can be equal, so every further field takes part: the choice must not depend on which edge is `self`.
        earliest = min(self, other, key=lambda e: (e.first_ms, e.first_event, e.source, e.owner, e.rule, e.rules))
        # The latest day, but within it the earliest event. A pair is published once for each new day, not for each event. The
        # latest event of the day would change with every event; the earliest one is reached after any order of the same events.
        latest = min(self, other, key=lambda e: (-e.last_day, e.last_ms, e.last_event))
        # Source, owner and rules describe the first event, so they come with it; only the two fields of the last event do not.
        return replace(earliest, last_ms=latest.last_ms, last_event=latest.last_event)


DecisionKind = Literal["cut", "apart"]
"""`cut`: the edge between two nodes does not count. `apart`: two nodes must never be in one profile."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The latest decision of a person about one pair and one kind: `on` sets it, an undo stores the same kind with `on` false."""

    on: bool
    at_ms: int
    operation: str

    def join(self, other: "Decision") -> "Decision":
        """Return the later decision; at one instant, the one whose operation id sorts last."""
        # By the time alone, two decisions of one millisecond would be settled by which of them arrived first.
        return max(self, other, key=lambda d: (d.at_ms, d.operation, d.on))


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The edges and decisions of one node, by the other node of the pair.

    `crowded` means that the store holds too many of them for this node: then none has been read, and both mappings are empty.
    `crowded_by_public` means that it holds too many public edges: then none of these has been read.
    """

    edges: Mapping[str, Edge] = field(default_factory=dict)
    decisions: Mapping[tuple[DecisionKind, str], Decision] = field(default_factory=dict)
    crowded: bool = False
    crowded_by_public: bool = False


Edges = dict[Pair, Edge]
Decisions = dict[tuple[DecisionKind, str, str], Decision]
"""Decisions by kind and the two nodes of the pair, the smaller one first."""
