"""Which labels change when new evidence meets a closure. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from domain.identity.closure import Closure
from domain.identity.clusters import members_of, resolve
from domain.identity.evidence import add_decision, add_edge, edge_of_link, nodes_of
from domain.identity.model import Decisions, Edges, Label, Members
from domain.identity.rules import CompiledIdentityRules
from schemas.records import Identity, Link, LinkDecision, LinkRecord, ReclusterRequest


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
            add_edge(edges, (record.a, record.b), edge_of_link(record))
        elif isinstance(record, LinkDecision):
            add_decision(decisions, record)
        elif isinstance(record, ReclusterRequest):
            requests.append(record)
    nodes = nodes_of(edges) | {node for _, a, b in decisions for node in (a, b)}
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
