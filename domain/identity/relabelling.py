"""Decides which labels and member lists change when new evidence meets a closure. Pure; called by the link agent for each slice.

Why flat labels: a reader finds the profile of a node with one read and never follows a chain of merges. The price is paid here:
when a profile changes, every member gets a new label.

Invariants:
- The version of a node's label only grows, and all labels and member lists of one change have the same version. So of two records
  that name a node, the one with the larger version is right, in whatever order a consumer reads them.
- Every profile id that gained or lost a node gets a record, and every id that dissolved says where its own node belongs now.

Example: profile b has the members b, m (version 4), profile a is a alone (version 0). The slice at offset 6 connects a and m. The
smallest member names the profile, so all three now belong to a. The version is max(6 + 1, 1 + 4) = 7. Written are the labels of a,
b and m, each (a, 7), the member list of a with (a, b, m), and the lists of b and m without members and with merged_into = a.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from domain.identity.closure import Closure
from domain.identity.clusters import members_of
from domain.identity.evidence import add_decision, add_edge, edge_of_link, nodes_of
from domain.identity.model import Decisions, Edges, Label, Members, ordered_pair
from schemas.records import Identity, Link, LinkDecision, LinkRecord, ReclusterRequest


@dataclass(frozen=True, slots=True)
class NewEvidence:
    """What a slice of `links` brings.

    Attributes:
        edges: the new evidence by pair, joined.
        decisions: the decisions of people by kind and pair, joined.
        requests: requests to resolve nodes again, because the rules changed.
        nodes: all nodes that the three above are about.
    """

    edges: Edges
    decisions: Decisions
    requests: tuple[ReclusterRequest, ...]
    nodes: frozenset[str]


def join_records(records: Sequence[LinkRecord]) -> NewEvidence:
    """Return the records of a slice joined, so that it does not matter how often and in which order they came."""
    edges: Edges = {}
    decisions: Decisions = {}
    requests: list[ReclusterRequest] = []
    for record in records:
        if isinstance(record, Link):
            # Ordered here, because another producer may write the ends of a link the other way round.
            add_edge(edges, ordered_pair(record.a, record.b), edge_of_link(record))
        elif isinstance(record, LinkDecision):
            add_decision(decisions, record)
        elif isinstance(record, ReclusterRequest):
            requests.append(record)
    nodes = nodes_of(edges) | {node for _, a, b in decisions for node in (a, b)}
    return NewEvidence(edges, decisions, tuple(requests), frozenset(nodes.union(*(request.nodes for request in requests))))


@dataclass(frozen=True, slots=True)
class LabelChange:
    """What a slice changes in the store.

    Attributes:
        edges: the edges that differ from the stored ones.
        decisions: the decisions that differ from the stored ones.
        labels: the new label of every node of a changed profile, moved or not.
        members: the new member list of every profile that gained or lost a node, or dissolved.
    """

    edges: Edges
    decisions: Decisions
    labels: dict[str, Label]
    members: dict[str, Members]


def decide(closure: Closure, new_evidence: NewEvidence, version: int, now_ms: int) -> LabelChange:
    """Return what changes when the nodes of a finished closure are resolved.

    `version` is the smallest version that the new labels may have: the link agent gives the offset that follows the slice. `now_ms`
    is written into the member lists.
    """
    stored_edges, joined = closure.stored_edges, closure.evidence
    edges = {key: joined.edges[key] for key in new_evidence.edges if stored_edges.get(key) != joined.edges[key]}
    decisions = {
        key: joined.decisions[key] for key in new_evidence.decisions if closure.stored_decisions.get(key) != joined.decisions[key]
    }
    labels_of_all = closure.resolve().labels
    resolved = {node: labels_of_all[node] for node in closure.nodes}
    before = {node: closure.labels[node].profile_id for node in resolved}
    moved_nodes = [node for node, profile_id in resolved.items() if before[node] != profile_id]
    if not moved_nodes:
        return LabelChange(edges, decisions, {}, {})
    # Normally the offset is larger than every stored version. After a rebuild, or with a new `links` topic, offsets start again.
    version = max(version, 1 + max(closure.labels[node].version for node in resolved))
    nodes_by_profile = members_of(resolved)
    causes = _causes(new_evidence, resolved, before)
    members: dict[str, Members] = {}
    # A moved node may have been a profile of its own earlier, and somebody may still hold that id. Its member list is written again
    # with the present profile, so that one read answers where the id went, without following a chain of merges.
    for profile_id in sorted({name for node in moved_nodes for name in (node, resolved[node], before[node])}):
        cause = causes.get(profile_id, "")
        if profile_id in nodes_by_profile:
            split_from = before[profile_id] if before[profile_id] != profile_id else ""
            members[profile_id] = Members(nodes_by_profile[profile_id], version, split_from=split_from, cause=cause, at_ms=now_ms)
        else:
            members[profile_id] = Members((), version, merged_into=resolved[profile_id], cause=cause, at_ms=now_ms)
    # Every member is labelled again, not only those that moved: the version of a label must equal that of its member list.
    labels = {
        node: Label(profile_id, version)
        for profile_id in members.keys() & nodes_by_profile.keys()
        for node in nodes_by_profile[profile_id]
    }
    return LabelChange(edges, decisions, labels, members)


def _causes(new_evidence: NewEvidence, resolved: Mapping[str, str], before: Mapping[str, str]) -> dict[str, str]:
    """Return the cause of the change by profile id: the operation of a person if there is one, else the latest event of the slice.

    A profile is affected by evidence about a node that belongs to it now, or that belonged to it before.
    """
    causes: dict[str, tuple[int, int, str]] = {}
    candidates = [(0, edge.first_ms, edge.first_event, key) for key, edge in new_evidence.edges.items()]
    candidates += [(1, decision.at_ms, decision.operation, key[1:]) for key, decision in new_evidence.decisions.items()]
    for weight, at_ms, name, nodes in candidates:
        for profile_id in {labels[node] for node in nodes for labels in (resolved, before) if node in labels}:
            causes[profile_id] = max(causes.get(profile_id, (0, 0, "")), (weight, at_ms, name))
    return {profile_id: name for profile_id, (_, _, name) in causes.items()}


def identity_record(profile_id: str, members: Members) -> Identity:
    """Return the record of the topic `identities` for a member list."""
    return Identity(
        profile_id=profile_id,
        members=members.nodes,
        label_version=members.version,
        merged_into=members.merged_into,
        split_from=members.split_from,
        cause=members.cause,
        at_ms=members.at_ms,
    )
