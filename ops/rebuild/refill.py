"""What a rebuilt profile store holds, as writes by place. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Final

from ops.rebuild.profile_state import Recomputed
from domain.identity import groups
from domain.profiles import membership as memberships, fragment as model
from domain.identity.clusters import members_of
from domain.profiles.membership import VACANT, Membership, SegmentState
from profile_store.port import Document, Kind, Label, Members, Place, Writes
from runtime.bus.partitioner import partition_of
from schemas.records import Grouped

CHUNK: Final = 500
Documents = dict[Place, dict[tuple[Kind, str], Document]]
"""Guarded documents by the place that they are written for."""


@dataclass(frozen=True, slots=True)
class Places:
    """The places of the four agents that keep state, each with the next offset that its state stands for."""

    events: Mapping[Place, int]
    links: Mapping[Place, int]
    touched: Mapping[Place, int]
    groups: Mapping[Place, int] = field(default_factory=dict)

    def all(self) -> dict[Place, int]:
        """All of them."""
        return {**self.events, **self.links, **self.touched, **self.groups}


def place_of(places: Mapping[Place, int], key: str) -> Place:
    """The place whose partition the key falls into."""
    by_number = {place.partition: place for place in places}
    return by_number[partition_of(key.encode(), len(by_number))]


def fragments(recomputed: Recomputed, places: Mapping[Place, int]) -> Documents:
    """Every owner's fragment, guarded by all that its partition had stored: whatever comes again before that is refused."""
    found: Documents = {place: {} for place in places}
    for owner, fragment in recomputed.state.fragments.items():
        place = place_of(places, owner)
        found[place]["fragment", owner] = Document(model.encode(fragment), place.name, places[place] - 1)
    return found


@dataclass(frozen=True, slots=True)
class Past:
    """What ClickHouse was told of profiles: their nodes' labels, their last change, the version of the member list that each was
    last evaluated at, which of them are shown, and what each contributed to which groups: see `groups.held_by`."""

    labels: Mapping[str, str] = field(default_factory=dict)
    profiles: Mapping[str, Members] = field(default_factory=dict)
    evaluated: Mapping[str, int] = field(default_factory=dict)
    shown: frozenset[str] = frozenset()
    contributed: Mapping[str, tuple[dict[str, str], int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Identities:
    """Labels, member lists, and of which profiles the member list is what it was: they are as they were last evaluated."""

    labels: dict[str, Label]
    members: dict[str, Members]
    unchanged: frozenset[str]


def identities(recomputed: Recomputed, past: Past, version: int, now_ms: int) -> Identities:
    """Labels and members of every profile that is linked or ever was, at a version that is larger than any before.

    A member list that is the last one said keeps what was said of it; another one is the rebuild's doing.
    """
    wanted = dict.fromkeys(past.labels, "") | recomputed.state.labels
    clusters = {
        profile_id: nodes
        for profile_id, nodes in members_of({node: profile_id or node for node, profile_id in wanted.items()}).items()
        if len(nodes) > 1 or not past.labels.keys().isdisjoint(nodes)
    }
    labels = {node: Label(profile_id, version) for profile_id, nodes in clusters.items() for node in nodes}
    members: dict[str, Members] = {}
    unchanged = set()
    for node, label in labels.items():
        nodes = clusters.get(node, ())
        into = "" if nodes else label.profile_id
        before = past.profiles.get(node)
        if before is not None and (before.nodes, before.merged_into) == (nodes, into):
            members[node] = replace(before, version=version)
            unchanged.add(node)
        else:
            members[node] = Members(nodes, version, merged_into=into, cause="rebuild", at_ms=now_ms)
    return Identities(labels, members, frozenset(unchanged))


def membership_documents(
    rows: Iterable[tuple[Any, ...]], found: Identities, past: Past, recomputed: Recomputed, places: Mapping[Place, int]
) -> Documents:
    """Each profile's memberships from its last transitions, so that numbers go on where they were and nobody enters anew.

    A profile that is no more but still shown has a document too: it is yet to be evaluated. So has one that is in a group: it must
    know which, to say so when it leaves.
    """
    held: dict[str, Membership] = {}
    moved: dict[str, set[str]] = {}
    for profile_id, segment, seq, op, at_ms, cause in rows:
        document = held.setdefault(profile_id, Membership(segments={}))
        document.segments[segment] = SegmentState(member=op == "entered", seq=seq, since_ms=at_ms)
        if op == "exited" and cause in ("merge", "split"):
            moved.setdefault(profile_id, set()).add(segment)
    for profile_id, (joined, seq) in past.contributed.items():
        document = held.setdefault(profile_id, Membership(segments={}))
        document.groups, document.group_seq = joined, seq
    gone = {name: into for name in held.keys() | past.shown if (into := _gone(name, found, recomputed))}
    for profile_id in past.shown & gone.keys():
        held.setdefault(profile_id, Membership(segments={}))
    documents: Documents = {place: {} for place in places}
    for profile_id, document in held.items():
        members = document.held()
        if profile_id in gone and not members and profile_id not in past.shown:
            document.dissolved_into = gone[profile_id]
            document.formerly = tuple(sorted(moved.get(profile_id, ())))
        else:
            document.formerly = tuple(sorted(members))
        document.label_version = _seen(profile_id, found, past, alive=profile_id not in gone)
        place = place_of(places, profile_id)
        documents[place]["membership", profile_id] = Document(memberships.encode(document), place.name, places[place] - 1)
    return documents


def group_documents(told: Iterable[Grouped], places: Mapping[Place, int]) -> Documents:
    """Every group's document, from all that was said of groups."""
    found: Documents = {place: {} for place in places}
    for name, document in groups.replayed(told).items():
        place = place_of(places, name)
        found[place]["group", name] = Document(groups.encode(document), place.name, places[place] - 1)
    return found


def _gone(profile_id: str, found: Identities, recomputed: Recomputed) -> str:
    """Where a profile went that is no more, empty when it is alive."""
    entry = found.members.get(profile_id, Members((profile_id,), 0))
    if entry.merged_into:
        return entry.merged_into
    return "" if any(node in recomputed.state.fragments for node in entry.nodes) else VACANT


def _seen(profile_id: str, found: Identities, past: Past, *, alive: bool) -> int:
    """The version of the member list that the profile's memberships stand for: the new one if it was evaluated since its last
    change. One that is no more counts for others by when it went."""
    evaluated = past.evaluated.get(profile_id, 0)
    if not alive or profile_id not in found.unchanged or evaluated < past.profiles[profile_id].version:
        return evaluated
    return found.members[profile_id].version


def chunks(writes: Writes) -> Iterator[Writes]:
    """The same writes in handy pieces."""
    yield from (Writes(documents=part) for part in _parts(writes.documents))
    yield from (Writes(labels=part) for part in _parts(writes.labels))
    yield from (Writes(members=part) for part in _parts(writes.members))
    yield from (Writes(edges=part) for part in _parts(writes.edges))
    yield from (Writes(decisions=part) for part in _parts(writes.decisions))


def _parts(entries: Mapping[Any, Any]) -> Iterator[dict[Any, Any]]:
    left = iter(entries.items())
    while part := dict(islice(left, CHUNK)):
        yield part
