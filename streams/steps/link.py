"""Link: keep evidence and decisions, compute the clusters they make, write flat labels, say every change and touch its profiles."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from profile_store import evidence
from profile_store.evidence import Decisions, Edges
from profile_store.identity import members_of, resolve
from profile_store.port import Document, Label, Members, Place, ProfileStore, Writes
from runtime.bus.port import Outgoing, Record
from runtime.errors import Transient
from runtime.settings import Settings
from schemas.codec import encode
from schemas.records import Decided, Identity, Link, LinkRecord, Look, Touched
from segments.identity import DEFAULT_RULES, Rules
from streams.outcome import Outcome
from streams.steps.closure import Closure, Explorer
from streams.steps.common import decode_slice, touch

_UNSAID: Final = msgspec.json.Decoder(tuple[str, ...])


class LinkStep:
    """Reads `links` (one partition: one writer of labels)."""

    name = "link"
    topic = "links"

    def __init__(self, settings: Settings, store: ProfileStore, rules: Callable[[], Rules] = lambda: DEFAULT_RULES) -> None:
        self._settings, self._store, self._rules = settings, store, rules

    async def run(self, place: Place, records: Sequence[Record], now_ms: int) -> Outcome:
        """Load what the slice's nodes are connected with, join the new evidence, relabel what changed."""
        said, bad = decode_slice(LinkRecord, records, self.name, self._settings, now_ms)
        rules = self._rules()
        standing, documents, _ = await self._store.load(place, "unsaid", [place.name])
        if standing.held:
            return Outcome(held=True)
        new = sorted_out([record for _, record in said], rules)
        closure = await Explorer(self._store, rules).explore(new.nodes, new.edges, new.decisions)
        change = decide(closure, new, rules, version=records[-1].offset + 1, now_ms=now_ms)
        # The crash may have come between the state and its records: what that slice changed is said again.
        replay = records[0].offset < (standing.position or 0)
        unsaid = _UNSAID.decode(documents[place.name].data or b"[]") if replay else ()
        again = await self._store.members([name for name in unsaid if name not in change.members])
        changed = {**again, **change.members}
        offset = max(records[-1].offset, documents[place.name].offset + 1)  # a replay's list is a new one
        writes = Writes(
            documents={("unsaid", place.name): Document(msgspec.json.encode(sorted(changed)), place.name, offset)},
            labels=change.labels,
            members=change.members,
            edges=change.edges,
            decisions=change.decisions,
        )
        results = Counter(links=len(said), nodes=len(closure.nodes), quarantined=len(bad))
        return Outcome(standing.position, writes=writes, produce=(*self._say(changed, now_ms), *bad), results=results)

    def _say(self, changed: Mapping[str, Members], now_ms: int) -> list[Outgoing]:
        """Who a profile consists of now, for the warehouse, and a touch of it."""
        topic = self._settings.topic("identities")
        said = [Outgoing(topic, encode(identity_of(name, entry)), key=name.encode()) for name, entry in changed.items()]
        return said + [
            touch(self._settings, Touched(profile_id=name, node=name, cause="link", event_id=entry.cause, at_ms=now_ms))
            for name, entry in changed.items()
        ]


@dataclass(frozen=True, slots=True)
class New:
    """What a slice brings: evidence, decisions, and all nodes to be looked at."""

    edges: Edges
    decisions: Decisions
    nodes: frozenset[str]


def sorted_out(said: Sequence[LinkRecord], rules: Rules) -> New:
    """The slice's records joined. Raises Transient when one wants newer rules than this process knows yet."""
    edges: Edges = {}
    decisions: Decisions = {}
    nodes: set[str] = set()
    for record in said:
        if isinstance(record, Link):
            evidence.add(edges, (record.a, record.b), evidence.of_link(record))
        elif isinstance(record, Decided):
            evidence.decide(decisions, record)
        elif isinstance(record, Look):
            if record.number > rules.number:
                raise Transient("the identity rules that a record speaks of have not arrived here yet")
            nodes |= set(record.nodes)
    nodes |= evidence.nodes_of(edges) | {node for _, a, b in decisions for node in (a, b)}
    return New(edges, decisions, frozenset(nodes))


@dataclass(frozen=True, slots=True)
class Change:
    """What a slice changes. `members` holds every profile that gained, lost or dissolved."""

    edges: Edges
    decisions: Decisions
    labels: dict[str, Label]
    members: dict[str, Members]


def decide(closure: Closure, new: New, rules: Rules, version: int, now_ms: int) -> Change:
    """Pure."""
    known, joined = closure.known, closure.evidence
    edges = {key: joined.edges[key] for key in new.edges if known.get(key) != joined.edges[key]}
    decisions = {key: joined.decisions[key] for key in new.decisions if closure.known_decisions.get(key) != joined.decisions[key]}
    wanted = resolve(joined, rules, closure.nodes).labels
    before = {node: closure.labels[node].profile_id for node in wanted}
    moved = [node for node, profile_id in wanted.items() if before[node] != profile_id]
    if not moved:
        return Change(edges, decisions, {}, {})
    version = max(version, 1 + max(closure.labels[node].version for node in wanted))
    groups = members_of(wanted)
    causes = _causes(new, wanted, before)
    members: dict[str, Members] = {}
    for profile_id in sorted({wanted[node] for node in moved} | {before[node] for node in moved}):
        cause = causes.get(profile_id, "")
        if profile_id in groups:
            split_from = before[profile_id] if before[profile_id] != profile_id else ""
            members[profile_id] = Members(groups[profile_id], version, split_from=split_from, cause=cause, at_ms=now_ms)
        else:
            members[profile_id] = Members((), version, merged_into=wanted[profile_id], cause=cause, at_ms=now_ms)
    labels = {node: Label(profile_id, version) for profile_id in members.keys() & groups.keys() for node in groups[profile_id]}
    return Change(edges, decisions, labels, members)


def _causes(new: New, wanted: Mapping[str, str], before: Mapping[str, str]) -> dict[str, str]:
    """profile id → the operation or else the latest of the slice's events that had to do with it."""
    found: dict[str, tuple[int, int, str]] = {}
    said = [(0, edge.first_ms, edge.first_event, key) for key, edge in new.edges.items()]
    said += [(1, decision.at_ms, decision.operation, key[1:]) for key, decision in new.decisions.items()]
    for weight, at_ms, name, nodes in said:
        for profile_id in {labels[node] for node in nodes for labels in (wanted, before) if node in labels}:
            found[profile_id] = max(found.get(profile_id, (0, 0, "")), (weight, at_ms, name))
    return {profile_id: name for profile_id, (_, _, name) in found.items()}


def identity_of(profile_id: str, members: Members) -> Identity:
    """The record that says a member list."""
    return Identity(
        profile_id=profile_id,
        members=members.nodes,
        label_version=members.version,
        merged_into=members.merged_into,
        split_from=members.split_from,
        cause=members.cause,
        at_ms=members.at_ms,
    )
