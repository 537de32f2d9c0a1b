"""Link: keep evidence and decisions, compute the clusters they make, write flat labels, say every change and touch its profiles."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from domain.identity import evidence
from domain.identity.clusters import members_of, resolve
from domain.identity.evidence import Decisions, Edges
from domain.identity.model import Label, Members
from domain.identity.rules import DEFAULT_RULES, CompiledIdentityRules
from profile_store.identity_loader import Closure, ClusterLoader
from profile_store.port import GuardedDocument, ProfileStore, TopicPartition, Writes
from runtime.bus.port import Outgoing, Record
from runtime.settings import Settings
from schemas.codec import encode
from schemas.records import Identity, Link, LinkDecision, LinkRecord, ReclusterRequest, Touched
from streams.outcome import Outcome
from streams.steps.common import decode_slice, touch_record


class LinkState(msgspec.Struct):
    """What the agent remembers of itself: the profiles whose change may not have been said, and the number of the rules that all
    clusters stand for. `missed` says that a request to look again was done by other rules than it asked for."""

    unpublished_ids: tuple[str, ...] = ()
    rules: int = 0
    missed: bool = False


_STATE: Final = msgspec.json.Decoder(LinkState)


async def load_link_state(store: ProfileStore, topic_partition: TopicPartition) -> LinkState:
    """The agent's state at a place. Raises Transient."""
    return _decode_state(await store.documents("link_outbox", [topic_partition.guard_name]), topic_partition)


def _decode_state(documents: Mapping[str, GuardedDocument], topic_partition: TopicPartition) -> LinkState:
    data = documents[topic_partition.guard_name].data
    return LinkState() if data is None else _STATE.decode(data)


class LinkStep:
    """Reads `links` (one partition: one writer of labels)."""

    name = "link"
    topic = "links"

    def __init__(
        self, settings: Settings, store: ProfileStore, rules: Callable[[], CompiledIdentityRules] = lambda: DEFAULT_RULES
    ) -> None:
        self._settings, self._store, self._rules = settings, store, rules

    async def run(self, topic_partition: TopicPartition, records: Sequence[Record], now_ms: int) -> Outcome:
        """Load what the slice's nodes are connected with, join the new evidence, relabel what changed."""
        decoded, quarantine_records = decode_slice(LinkRecord, records, self.name, self._settings, now_ms)
        rules = self._rules()
        checkpoint, documents, _ = await self._store.load(topic_partition, "link_outbox", [topic_partition.guard_name])
        if checkpoint.paused:
            return Outcome(paused=True)
        new_evidence = join_records([record for _, record in decoded])
        closure = await ClusterLoader(self._store, rules).load(new_evidence.nodes, new_evidence.edges, new_evidence.decisions)
        change = decide(closure, new_evidence, rules, version=records[-1].offset + 1, now_ms=now_ms)
        # The crash may have come between the state and its records: what that slice changed is said again.
        state = _decode_state(documents, topic_partition)
        unpublished_ids = state.unpublished_ids if records[0].offset < (checkpoint.position or 0) else ()
        republished = await self._store.members([name for name in unpublished_ids if name not in change.members])
        changed = {**republished, **change.members}
        apply_requests(state, new_evidence.requests, rules.sequence_number)
        state.unpublished_ids = tuple(sorted(changed))
        offset = max(records[-1].offset, documents[topic_partition.guard_name].offset + 1)  # a replay's state is a new one
        writes = Writes(
            documents={
                ("link_outbox", topic_partition.guard_name): GuardedDocument(
                    msgspec.json.encode(state), topic_partition.guard_name, offset
                )
            },
            labels=change.labels,
            members=change.members,
            edges=change.edges,
            decisions=change.decisions,
        )
        results = Counter(links=len(decoded), nodes=len(closure.nodes), quarantined=len(quarantine_records))
        return Outcome(
            checkpoint.position,
            fence=checkpoint.fence,
            writes=writes,
            produce=(*self._change_records(changed, now_ms), *quarantine_records),
            results=results,
        )

    def _change_records(self, changed: Mapping[str, Members], now_ms: int) -> list[Outgoing]:
        """Who a profile consists of now, for the warehouse, and a touch of it."""
        topic = self._settings.topic("identities")
        records = [Outgoing(topic, encode(identity_record(name, entry)), key=name.encode()) for name, entry in changed.items()]
        return records + [
            touch_record(self._settings, Touched(profile_id=name, node=name, cause="link", event_id=entry.cause, at_ms=now_ms))
            for name, entry in changed.items()
        ]


def apply_requests(state: LinkState, requests: Sequence[ReclusterRequest], rules_number: int) -> None:
    """Note the requests to look again that were done by the rules of `rules_number`. The one without nodes ends a round."""
    for request in requests:
        state.missed |= request.rules_number != rules_number
        if not request.nodes:
            state.rules = state.rules if state.missed else rules_number
            state.missed = False


@dataclass(frozen=True, slots=True)
class NewEvidence:
    """What a slice brings: evidence, decisions, requests to look again, and all nodes that they are about."""

    edges: Edges
    decisions: Decisions
    requests: tuple[ReclusterRequest, ...]
    nodes: frozenset[str]


def join_records(records: Sequence[LinkRecord]) -> NewEvidence:
    """The slice's records joined."""
    edges: Edges = {}
    decisions: Decisions = {}
    requests: list[ReclusterRequest] = []
    for record in records:
        if isinstance(record, Link):
            evidence.add_edge(edges, (record.a, record.b), evidence.edge_of_link(record))
        elif isinstance(record, LinkDecision):
            evidence.add_decision(decisions, record)
        elif isinstance(record, ReclusterRequest):
            requests.append(record)
    nodes = evidence.nodes_of(edges) | {node for _, a, b in decisions for node in (a, b)}
    return NewEvidence(edges, decisions, tuple(requests), frozenset(nodes.union(*(request.nodes for request in requests))))


@dataclass(frozen=True, slots=True)
class LabelChange:
    """What a slice changes. `members` holds every profile that gained or lost a node, or dissolved."""

    edges: Edges
    decisions: Decisions
    labels: dict[str, Label]
    members: dict[str, Members]


def decide(closure: Closure, new_evidence: NewEvidence, rules: CompiledIdentityRules, version: int, now_ms: int) -> LabelChange:
    """Pure."""
    stored_edges, joined = closure.stored_edges, closure.evidence
    edges = {key: joined.edges[key] for key in new_evidence.edges if stored_edges.get(key) != joined.edges[key]}
    decisions = {
        key: joined.decisions[key] for key in new_evidence.decisions if closure.stored_decisions.get(key) != joined.decisions[key]
    }
    resolved = resolve(joined, rules, closure.nodes, closure.liveness).labels
    before = {node: closure.labels[node].profile_id for node in resolved}
    moved_nodes = [node for node, profile_id in resolved.items() if before[node] != profile_id]
    if not moved_nodes:
        return LabelChange(edges, decisions, {}, {})
    version = max(version, 1 + max(closure.labels[node].version for node in resolved))
    nodes_by_profile = members_of(resolved)
    causes = _causes(new_evidence, resolved, before)
    members: dict[str, Members] = {}
    # A moved node may once have been a profile: its own id too says where it belongs now, so that nobody follows chains.
    for profile_id in sorted({name for node in moved_nodes for name in (node, resolved[node], before[node])}):
        cause = causes.get(profile_id, "")
        if profile_id in nodes_by_profile:
            split_from = before[profile_id] if before[profile_id] != profile_id else ""
            members[profile_id] = Members(nodes_by_profile[profile_id], version, split_from=split_from, cause=cause, at_ms=now_ms)
        else:
            members[profile_id] = Members((), version, merged_into=resolved[profile_id], cause=cause, at_ms=now_ms)
    labels = {
        node: Label(profile_id, version)
        for profile_id in members.keys() & nodes_by_profile.keys()
        for node in nodes_by_profile[profile_id]
    }
    return LabelChange(edges, decisions, labels, members)


def _causes(new_evidence: NewEvidence, resolved: Mapping[str, str], before: Mapping[str, str]) -> dict[str, str]:
    """profile id → the operation or else the latest of the slice's events that had to do with it."""
    causes: dict[str, tuple[int, int, str]] = {}
    candidates = [(0, edge.first_ms, edge.first_event, key) for key, edge in new_evidence.edges.items()]
    candidates += [(1, decision.at_ms, decision.operation, key[1:]) for key, decision in new_evidence.decisions.items()]
    for weight, at_ms, name, nodes in candidates:
        for profile_id in {labels[node] for node in nodes for labels in (resolved, before) if node in labels}:
            causes[profile_id] = max(causes.get(profile_id, (0, 0, "")), (weight, at_ms, name))
    return {profile_id: name for profile_id, (_, _, name) in causes.items()}


def identity_record(profile_id: str, members: Members) -> Identity:
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
