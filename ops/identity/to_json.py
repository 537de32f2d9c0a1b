"""Answers about identity as JSON. Pure."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from domain.identity.explanation import EdgeRefusal, EvidenceStep, PairExplanation, ReplayedEdge
from domain.identity.model import Decision, Members, ordered_pair
from ops.identity.audit import EvidenceAudit, event_to_json
from ops.identity.clusters import ResolvedClusters
from ops.identity.references import IdentifiersByNode, format_instant, node_to_json, render_node
from schemas.records import LinkDecision


def why_to_json(
    clusters: ResolvedClusters,
    why: PairExplanation,
    ends: tuple[str, str],
    seen_nodes: Collection[str],
    identifiers: IdentifiersByNode,
    audit: EvidenceAudit,
) -> dict[str, Any]:
    """Return the answer to `why`: a verdict, the path between the two, and the reasons that keep them apart.

    `seen_nodes` are those of the two nodes about which something is stored.
    """
    a, b = ends
    steps = [step_to_json(step, clusters, identifiers, audit) for step in why.steps]
    direct = None if why.direct_step is None else step_to_json(why.direct_step, clusters, identifiers, audit)
    return {
        "a": {**node_to_json(a, identifiers), "profile_id": clusters.stored_profile_id(a), "seen": a in seen_nodes},
        "b": {**node_to_json(b, identifiers), "profile_id": clusters.stored_profile_id(b), "seen": b in seen_nodes},
        "verdict": why.relation,
        "together": why.relation in ("same", "together"),
        "path": steps,
        "reasons": [step["refused"] for step in steps if step["refused"] is not None],
        "direct": direct,
        "settled": clusters.is_settled([a, b]),
        "rules": clusters.rules.version,
        "history": audit.complete,
    }


def how_to_json(
    profile_id: str, clusters: ResolvedClusters, turns: Iterable[ReplayedEdge], identifiers: IdentifiersByNode, audit: EvidenceAudit
) -> dict[str, Any]:
    """Return the answer to `how`: a profile's members, and its evidence in the order in which it is applied."""
    nodes = [node for node, label in sorted(clusters.resolution.labels.items()) if label == profile_id]
    return {
        "profile_id": profile_id,
        "identifiers": [node_to_json(node, identifiers) for node in nodes],
        "turns": [{"outcome": turn.outcome, **step_to_json(turn.step, clusters, identifiers, audit)} for turn in turns],
        "settled": clusters.is_settled(nodes),
        "rules": clusters.rules.version,
        "prefer": clusters.rules.prefer,
        "history": audit.complete,
    }


def step_to_json(
    step: EvidenceStep, clusters: ResolvedClusters, identifiers: IdentifiersByNode, audit: EvidenceAudit
) -> dict[str, Any]:
    """Return one piece of evidence."""
    key, edge = ordered_pair(step.start, step.end), step.edge
    return {
        "from": node_to_json(step.start, identifiers),
        "to": node_to_json(step.end, identifiers),
        "first_seen": format_instant(edge.first_ms),
        "last_seen": format_instant(edge.last_ms),
        "source": edge.source,
        "trusted": edge.trusted,
        "rule": edge.rule,
        "rules": edge.rules,
        "first_event": event_to_json(edge.first_event, audit.events.get((key, edge.first_event))),
        "last_event": event_to_json(edge.last_event, audit.events.get((key, edge.last_event))),
        "refused": None if step.refusal is None else refusal_to_json(step.refusal, clusters, identifiers, audit),
    }


def refusal_to_json(
    refusal: EdgeRefusal, clusters: ResolvedClusters, identifiers: IdentifiersByNode, audit: EvidenceAudit
) -> dict[str, Any]:
    """Return why a piece of evidence joins nothing, in parts and as a sentence."""
    dead = refusal.dead
    edges = clusters.evidence.edges
    answer: dict[str, Any] = {"reason": dead.reason}
    if dead.reason in ("blocked", "generic", "crowded"):
        answer["identifier"] = node_to_json(dead.subject, identifiers)
    if dead.reason == "unique":
        answer["namespace"] = clusters.rules.namespaces.name_of_key(dead.subject)
    if refusal.limit is not None:
        answer["limit"] = refusal.limit
    if dead.reason == "generic":
        answer["count"] = dead.count
    if refusal.decision is not None:
        answer["decision"] = decision_to_json(refusal.decision, audit)
    if refusal.pair is not None:
        answer["pair"] = [node_to_json(node, identifiers) for node in refusal.pair]
    if dead.reason == "unique":
        answer["sides"] = [[node_to_json(node, identifiers) for node in side] for side in refusal.end_values]
    if dead.reason == "size":
        answer["sizes"] = [len(side) for side in refusal.end_values]
    if refusal.earlier_links:
        answer["joined_before"] = [
            {
                "from": node_to_json(a, identifiers),
                "to": node_to_json(b, identifiers),
                "last_seen": format_instant(edges[a, b].last_ms),
                "trusted": edges[a, b].trusted,
            }
            for a, b in refusal.earlier_links
        ]
    answer["text"] = explain_refusal(answer, clusters.rules.prefer)
    return answer


def operation_to_json(
    record: LinkDecision, profiles: Mapping[str, Members], identifiers: IdentifiersByNode, *, applied: bool
) -> dict[str, Any]:
    """Return the answer to a decision. `profiles` are those of its nodes, read before it is applied if not yet `applied`."""
    return {
        "operation": record.operation,
        "action": record.action,
        "of": record.of,
        "on": record.on,
        "at": format_instant(record.at_ms),
        "by": record.by,
        "reason": record.reason,
        "pairs": [
            {"kind": kind, "a": node_to_json(a, identifiers), "b": node_to_json(b, identifiers)} for kind, a, b in record.pairs
        ],
        "applied": applied,
        "profiles": [
            {"profile_id": name, "identifiers": [node_to_json(node, identifiers) for node in entry.nodes]}
            for name, entry in profiles.items()
        ],
    }


def decision_to_json(decision: Decision, audit: EvidenceAudit) -> dict[str, Any]:
    """Return a person's decision, with its author and reason when the audit has them."""
    operation = audit.operations.get(decision.operation)
    attribution = {} if operation is None else {"action": operation.action, "by": operation.by, "why": operation.reason}
    return {"operation": decision.operation, "at": format_instant(decision.at_ms), **attribution}


def explain_refusal(refusal: Mapping[str, Any], prefer: str) -> str:
    """Return the reason of a refusal as a sentence."""
    reason = refusal["reason"]
    if reason == "cut":
        return f"cut {_attribution(refusal['decision'])}"
    if reason == "apart":
        low, high = refusal["pair"]
        return f"{render_node(low)} and {render_node(high)} are kept apart, decided {_attribution(refusal['decision'])}"
    if reason == "blocked":
        return f"{render_node(refusal['identifier'])} is blocked: by the identity rules it names nobody"
    if reason == "rule_off":
        return "the identity rules do not take a call for one of the customer with the same phone (same_number: false)"
    if reason == "generic":
        who, namespace = render_node(refusal["identifier"]), refusal["identifier"]["namespace"]
        return (
            f"{who} is generic: it was seen with {refusal['count']} others that are as strong or stronger, "
            f"a value of {namespace} may be with {refusal['limit']}"
        )
    if reason == "crowded":
        return f"{render_node(refusal['identifier'])} is crowded: it was seen with more than {refusal['limit']:,} others"
    if reason == "size":
        left_size, right_size = refusal["sizes"]
        return f"together they would have {left_size + right_size:,} identifiers, a profile may have {refusal['limit']:,}"
    first = "newest" if prefer == "last" else "oldest"
    identifiers = [render_node(identifier) for side in refusal["sides"] for identifier in side]
    return (
        f"a profile may have {refusal['limit']} {refusal['namespace']}, together they would have {len(identifiers)}: "
        f"{', '.join(identifiers)}; trusted evidence is taken before public, and the {first} of each first"
    )


def _attribution(decision: Mapping[str, Any]) -> str:
    who = f"by {decision['by']} " if decision.get("by") else ""
    why = f", because: {decision['why']}" if decision.get("why") else ""
    return f"{who}at {decision['at']} (operation {decision['operation']}){why}"
