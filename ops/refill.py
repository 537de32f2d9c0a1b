"""What a rebuilt profile store holds, as writes by place. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from ops.state import Recomputed
from profile_store import memberships, model
from profile_store.identity import Evidence, members_of, resolve
from profile_store.memberships import Membership, SegmentState
from profile_store.port import Document, Kind, Label, Members, Place, Writes
from runtime.bus.partitioner import partition_of
from segments.identity import DEFAULT_RULES

CHUNK: Final = 500


@dataclass(frozen=True, slots=True)
class Places:
    """The places of the three agents that keep state, each with the next offset that its state stands for."""

    events: Mapping[Place, int]
    links: Mapping[Place, int]
    touched: Mapping[Place, int]

    def all(self) -> dict[Place, int]:
        """All of them."""
        return {**self.events, **self.links, **self.touched}


def place_of(places: Mapping[Place, int], key: str) -> Place:
    """The place whose partition the key falls into."""
    by_number = {place.partition: place for place in places}
    return by_number[partition_of(key.encode(), len(by_number))]


def fragments(recomputed: Recomputed, places: Mapping[Place, int]) -> dict[Place, dict[tuple[Kind, str], Document]]:
    """Every owner's fragment, guarded by all that its partition had stored: whatever comes again before that is refused."""
    found: dict[Place, dict[tuple[Kind, str], Document]] = {place: {} for place in places}
    for owner, fragment in recomputed.state.fragments.items():
        place = place_of(places, owner)
        found[place]["fragment", owner] = Document(model.encode(fragment), place.name, places[place] - 1)
    return found


def identities(recomputed: Recomputed, version: int) -> tuple[dict[str, Label], dict[str, Members]]:
    """Labels and members of every linked profile. A node that went into another profile says so, as after a merge."""
    wanted = resolve(Evidence(recomputed.edges), DEFAULT_RULES).labels
    groups = {profile_id: nodes for profile_id, nodes in members_of(wanted).items() if len(nodes) > 1}
    labels = {node: Label(profile_id, version) for profile_id, nodes in groups.items() for node in nodes}
    members = {profile_id: Members(nodes, version) for profile_id, nodes in groups.items()}
    members |= {
        node: Members((), version, merged_into=profile_id)
        for profile_id, nodes in groups.items()
        for node in nodes
        if node != profile_id
    }
    return labels, members


def membership_documents(
    rows: Iterable[tuple[Any, ...]], labels: Mapping[str, Label], places: Mapping[Place, int]
) -> dict[Place, dict[tuple[Kind, str], Document]]:
    """Each profile's memberships from its last transitions, so that numbers go on where they were and nobody enters anew."""
    held: dict[str, Membership] = {}
    moved: dict[str, set[str]] = {}
    for profile_id, segment, seq, op, at_ms, cause in rows:
        document = held.setdefault(profile_id, Membership(segments={}))
        document.segments[segment] = SegmentState(member=op == "entered", seq=seq, since_ms=at_ms)
        if op == "exited" and cause == "merge":
            moved.setdefault(profile_id, set()).add(segment)
    found: dict[Place, dict[tuple[Kind, str], Document]] = {place: {} for place in places}
    for profile_id, document in held.items():
        label = labels.get(profile_id)
        if label is not None and label.profile_id != profile_id and not any(s.member for s in document.segments.values()):
            document.dissolved_into = label.profile_id
            document.formerly = tuple(sorted(moved.get(profile_id, ())))
        place = place_of(places, profile_id)
        found[place]["membership", profile_id] = Document(memberships.encode(document), place.name, places[place] - 1)
    return found


def chunks(writes: Writes) -> Iterator[Writes]:
    """The same writes in handy pieces."""
    yield from (Writes(documents=part) for part in _parts(writes.documents))
    yield from (Writes(labels=part) for part in _parts(writes.labels))
    yield from (Writes(members=part) for part in _parts(writes.members))
    yield from (Writes(edges=part) for part in _parts(writes.edges))


def _parts(entries: Mapping[Any, Any]) -> Iterator[dict[Any, Any]]:
    left = iter(entries.items())
    while part := dict(islice(left, CHUNK)):
        yield part
