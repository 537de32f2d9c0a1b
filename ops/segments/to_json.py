"""Answers about segments as JSON. Pure."""

from collections.abc import Mapping
from typing import Any

from domain.segments.explain import ExplainedNode, SegmentExplanation
from domain.segments.plan import SegmentPlan
from ops.identity.references import format_instant
from ops.segments.evidence_events import EventEvidence
from ops.segments.profile_snapshot import ProfileSnapshot
from ops.segments.verification import SegmentComparison, SegmentVerification, TraitComparison
from ops.segments.verifier import CHUNK
from schemas.instants import NEVER


def why_to_json(
    explanation: SegmentExplanation, snapshot: ProfileSnapshot, evidence: EventEvidence, plan: SegmentPlan, now_ms: int
) -> dict[str, Any]:
    """Return the answer about one segment.

    `agrees` says whether the stored membership is the one that is explained here, and `evaluated` whether the stored one
    was evaluated by the live definitions.
    """
    tree = explanation.tree
    return {
        "profile_id": snapshot.profile_id,
        "segment": explanation.segment,
        "version": explanation.version,
        "at": format_instant(now_ms),
        "member": tree.holds,
        **_next_change(tree.flips_at_ms, now_ms),
        "followed_until": optional_instant(explanation.until_ms),
        "approximate": explanation.is_approximate,
        "tree": node_to_json(tree, evidence, now_ms),
        "stored": stored_membership(snapshot, explanation.segment),
        "agrees": is_stored_member(snapshot, explanation.segment) is tree.holds,
        "evaluated": snapshot.membership.plan_fingerprint == plan.fingerprint,
        "transition": evidence.transition,
        "history": evidence.complete,
    }


def node_to_json(node: ExplainedNode, evidence: EventEvidence, now_ms: int) -> dict[str, Any]:
    """Return a node of the tree and all nodes below it."""
    answer: dict[str, Any] = {"node": node.keyword, "text": node.text, "holds": node.holds}
    leaf = node.keyword not in ("all", "any", "not", "in_segment", "everyone")
    if leaf:
        answer |= {
            "value": _value(node.value),
            "or_more": node.is_lower_bound,
            "wanted": node.expected,
            "approximate": node.is_approximate,
        }
    answer |= {"may_change": optional_instant(node.next_change_ms), **_next_change(node.flips_at_ms, now_ms)}
    if leaf:
        answer["events"] = [
            {
                "count": behind.count or len(evidence.events.get(id(behind), ())),
                "trait": behind.trait,
                "shown": evidence.events[id(behind)],
            }
            for behind in node.evidence
        ]
    return answer | {"inside": [node_to_json(child, evidence, now_ms) for child in node.children]}


def row_to_json(name: str, snapshot: ProfileSnapshot, turns: tuple[bool, int], now_ms: int) -> dict[str, Any]:
    """Return the row of one segment in a profile's table."""
    member, turns_ms = turns
    membership = stored_membership(snapshot, name)
    return {
        "name": name,
        "member": member,
        "since": membership["since"] if membership is not None and membership["member"] is member else None,
        **_next_change(turns_ms, now_ms),
        "agrees": is_stored_member(snapshot, name) is member,
    }


def is_stored_member(snapshot: ProfileSnapshot, segment: str) -> bool:
    """Return whether the person is in a segment by the stored membership."""
    state = snapshot.membership.segments.get(segment)
    return state is not None and state.member and not snapshot.membership.dissolved_into


def stored_membership(snapshot: ProfileSnapshot, segment: str) -> dict[str, Any] | None:
    """Return the stored membership, None when the person was never in the segment."""
    state = snapshot.membership.segments.get(segment)
    return None if state is None else {"member": state.member, "since": format_instant(state.since_ms), "seq": state.seq}


def optional_instant(at_ms: int) -> str | None:
    """Return an instant as text; None for NEVER."""
    return None if at_ms >= NEVER else format_instant(at_ms)


def _next_change(at_ms: int, now_ms: int) -> dict[str, Any]:
    return {"turns": optional_instant(at_ms), "turns_in_ms": None if at_ms >= NEVER else at_ms - now_ms}


def _value(value: Any) -> Any:
    if isinstance(value, Mapping) and "at_ms" in value:
        return {"at": format_instant(value["at_ms"]), **{name: item for name, item in value.items() if name != "at_ms"}}
    return value


def verification_to_json(verification: SegmentVerification) -> dict[str, Any]:
    """Return the answer to `verify`. Of each segment and computed trait the first CHUNK differing profiles are named."""
    return {
        "agrees": verification.agrees,
        "looks": verification.comparisons,
        "at": format_instant(verification.at_ms),
        "repaired": verification.repaired,
        "segments": [_comparison_to_json(comparison) for comparison in verification.segments],
        "traits": [_trait_to_json(comparison) for comparison in verification.traits],
    }


def _trait_to_json(comparison: TraitComparison) -> dict[str, Any]:
    causes = comparison.causes
    return {
        "name": comparison.trait,
        "version": comparison.version,
        "equal": comparison.equal,
        "differing": len(comparison.differing),
        "profiles": sorted(comparison.differing)[:CHUNK],
        "causes": {"approximate": causes.approximate, "stale": causes.stale, "registers": causes.registers},
    }


def _comparison_to_json(comparison: SegmentComparison) -> dict[str, Any]:
    causes, differing = comparison.causes, comparison.differing
    return {
        "name": comparison.segment,
        "version": comparison.version,
        "both": comparison.both,
        "only_stream": len(differing.stream),
        "only_sql": len(differing.sql),
        "profiles_only_stream": sorted(differing.stream)[:CHUNK],
        "profiles_only_sql": sorted(differing.sql)[:CHUNK],
        "causes": {"approximate": causes.approximate, "stale": causes.stale, "registers": causes.registers},
        "approximate_leaves": [{"text": text, "profiles": count} for text, count in causes.leaves],
    }
