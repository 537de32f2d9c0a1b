"""Link: keep evidence and decisions, compute the clusters they make, write flat labels, say every change and touch its profiles."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from domain.identity import evidence
from domain.identity.evidence import Decisions, Edges
from domain.identity.clusters import members_of, resolve
from profile_store.port import Document, Label, Members, Place, ProfileStore, Writes
from runtime.bus.port import Outgoing, Record
from runtime.settings import Settings
from schemas.codec import encode
from schemas.records import Decided, Identity, Link, LinkRecord, Look, Touched
from domain.identity.rules import DEFAULT_RULES, Rules
from streams.outcome import Outcome
from profile_store.identity_loader import Closure, Explorer
from streams.steps.common import decode_slice, touch


class LinkState(msgspec.Struct):
    """What the agent remembers of itself: the profiles whose change may not have been said, and the number of the rules that all
    clusters stand for. `missed` says that a request to look again was done by other rules than it asked for."""

    unsaid: tuple[str, ...] = ()
    rules: int = 0
    missed: bool = False


_STATE: Final = msgspec.json.Decoder(LinkState)


async def state_of(store: ProfileStore, place: Place) -> LinkState:
    """The agent's state at a place. Raises Transient."""
    return _state(await store.documents("unsaid", [place.name]), place)


def _state(documents: Mapping[str, Document], place: Place) -> LinkState:
    data = documents[place.name].data
    return LinkState() if data is None else _STATE.decode(data)


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
        new = sorted_out([record for _, record in said])
        closure = await Explorer(self._store, rules).explore(new.nodes, new.edges, new.decisions)
        change = decide(closure, new, rules, version=records[-1].offset + 1, now_ms=now_ms)
        # The crash may have come between the state and its records: what that slice changed is said again.
        state = _state(documents, place)
        unsaid = state.unsaid if records[0].offset < (standing.position or 0) else ()
        again = await self._store.members([name for name in unsaid if name not in change.members])
        changed = {**again, **change.members}
        looked(state, new.looks, rules.number)
        state.unsaid = tuple(sorted(changed))
        offset = max(records[-1].offset, documents[place.name].offset + 1)  # a replay's state is a new one
        writes = Writes(
            documents={("unsaid", place.name): Document(msgspec.json.encode(state), place.name, offset)},
            labels=change.labels,
            members=change.members,
            edges=change.edges,
            decisions=change.decisions,
        )
        results = Counter(links=len(said), nodes=len(closure.nodes), quarantined=len(bad))
        return Outcome(
            standing.position,
            fence=standing.fence,
            writes=writes,
            produce=(*self._say(changed, now_ms), *bad),
            results=results,
        )

    def _say(self, changed: Mapping[str, Members], now_ms: int) -> list[Outgoing]:
        """Who a profile consists of now, for the warehouse, and a touch of it."""
        topic = self._settings.topic("identities")
        said = [Outgoing(topic, encode(identity_of(name, entry)), key=name.encode()) for name, entry in changed.items()]
        return said + [
            touch(self._settings, Touched(profile_id=name, node=name, cause="link", event_id=entry.cause, at_ms=now_ms))
            for name, entry in changed.items()
        ]


def looked(state: LinkState, looks: Sequence[Look], number: int) -> None:
    """Note the requests to look again that were done by the rules of `number`. The one without nodes ends a round."""
    for look in looks:
        state.missed |= look.number != number
        if not look.nodes:
            state.rules = state.rules if state.missed else number
            state.missed = False


@dataclass(frozen=True, slots=True)
class New:
    """What a slice brings: evidence, decisions, requests to look again, and all nodes that they are about."""

    edges: Edges
    decisions: Decisions
    looks: tuple[Look, ...]
    nodes: frozenset[str]


def sorted_out(said: Sequence[LinkRecord]) -> New:
    """The slice's records joined."""
    edges: Edges = {}
    decisions: Decisions = {}
    looks: list[Look] = []
    for record in said:
        if isinstance(record, Link):
            evidence.add(edges, (record.a, record.b), evidence.of_link(record))
        elif isinstance(record, Decided):
            evidence.decide(decisions, record)
        elif isinstance(record, Look):
            looks.append(record)
    nodes = evidence.nodes_of(edges) | {node for _, a, b in decisions for node in (a, b)}
    return New(edges, decisions, tuple(looks), frozenset(nodes.union(*(look.nodes for look in looks))))


@dataclass(frozen=True, slots=True)
class Change:
    """What a slice changes. `members` holds every profile that gained or lost a node, or dissolved."""

    edges: Edges
    decisions: Decisions
    labels: dict[str, Label]
    members: dict[str, Members]


def decide(closure: Closure, new: New, rules: Rules, version: int, now_ms: int) -> Change:
    """Pure."""
    known, joined = closure.known, closure.evidence
    edges = {key: joined.edges[key] for key in new.edges if known.get(key) != joined.edges[key]}
    decisions = {key: joined.decisions[key] for key in new.decisions if closure.known_decisions.get(key) != joined.decisions[key]}
    wanted = resolve(joined, rules, closure.nodes, closure.liveness).labels
    before = {node: closure.labels[node].profile_id for node in wanted}
    moved = [node for node, profile_id in wanted.items() if before[node] != profile_id]
    if not moved:
        return Change(edges, decisions, {}, {})
    version = max(version, 1 + max(closure.labels[node].version for node in wanted))
    groups = members_of(wanted)
    causes = _causes(new, wanted, before)
    members: dict[str, Members] = {}
    # A moved node may once have been a profile: its own id too says where it belongs now, so that nobody follows chains.
    for profile_id in sorted({name for node in moved for name in (node, wanted[node], before[node])}):
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
