"""Answers to why as JSON. Pure."""

from collections.abc import Mapping
from typing import Any

from ops.identity.references import moment
from ops.segments.evidence_events import Told
from ops.segments.profile_snapshot import Person
from ops.segments.verifier import CHUNK, Compared, Verified
from domain.segments.comparisons import NEVER
from domain.segments.explain import Explained, Explanation
from domain.segments.plan import Plan


def shape_why(explanation: Explanation, person: Person, told: Told, plan: Plan, now_ms: int) -> dict[str, Any]:
    """The answer about one segment. `agrees` says whether the stored membership is the one explained here; `evaluated` whether it
    was last looked at by the definitions of now."""
    tree = explanation.tree
    return {
        "profile_id": person.profile_id,
        "segment": explanation.segment,
        "version": explanation.version,
        "at": moment(now_ms),
        "member": tree.holds,
        **_turns(tree.turns_ms, now_ms),
        "followed_until": shape_moment(explanation.until_ms),
        "approximate": explanation.approximate,
        "tree": shape_node(tree, told, now_ms),
        "stored": stored(person, explanation.segment),
        "agrees": member_of(person, explanation.segment) is tree.holds,
        "evaluated": person.held.plan == plan.fingerprint,
        "transition": told.transition,
        "history": told.complete,
    }


def shape_node(one: Explained, told: Told, now_ms: int) -> dict[str, Any]:
    """A node and all below it."""
    found: dict[str, Any] = {"node": one.keyword, "text": one.text, "holds": one.holds}
    leaf = one.keyword not in ("all", "any", "not", "in_segment", "everyone")
    if leaf:
        found |= {"value": _value(one.value), "or_more": one.or_more, "wanted": one.wanted, "approximate": one.approximate}
    found |= {"may_change": shape_moment(one.next_ms), **_turns(one.turns_ms, now_ms)}
    if leaf:
        found["events"] = [
            {"count": behind.count or len(told.events.get(id(behind), ())), "trait": behind.trait, "shown": told.events[id(behind)]}
            for behind in one.behind
        ]
    return found | {"inside": [shape_node(child, told, now_ms) for child in one.inside]}


def shape_row(name: str, person: Person, turns: tuple[bool, int], now_ms: int) -> dict[str, Any]:
    """One segment of a profile's table."""
    member, turns_ms = turns
    held = stored(person, name)
    return {
        "name": name,
        "member": member,
        "since": held["since"] if held is not None and held["member"] is member else None,
        **_turns(turns_ms, now_ms),
        "agrees": member_of(person, name) is member,
    }


def member_of(person: Person, segment: str) -> bool:
    """Whether the stored membership has the person in a segment."""
    state = person.held.segments.get(segment)
    return state is not None and state.member and not person.held.dissolved_into


def stored(person: Person, segment: str) -> dict[str, Any] | None:
    """The stored membership, None when the person was never in."""
    state = person.held.segments.get(segment)
    return None if state is None else {"member": state.member, "since": moment(state.since_ms), "seq": state.seq}


def shape_moment(at_ms: int) -> str | None:
    """An instant; None for one that does not come."""
    return None if at_ms >= NEVER else moment(at_ms)


def _turns(at_ms: int, now_ms: int) -> dict[str, Any]:
    return {"turns": shape_moment(at_ms), "turns_in_ms": None if at_ms >= NEVER else at_ms - now_ms}


def _value(value: Any) -> Any:
    if isinstance(value, Mapping) and "at_ms" in value:
        return {"at": moment(value["at_ms"]), **{name: one for name, one in value.items() if name != "at_ms"}}
    return value


def shape_verified(verified: Verified) -> dict[str, Any]:
    """The answer to verify. Of each segment the first CHUNK profiles that differ either way are named."""
    return {
        "agrees": verified.agrees,
        "looks": verified.looks,
        "at": moment(verified.at_ms),
        "repaired": verified.repaired,
        "segments": [_shape_compared(one) for one in verified.segments],
    }


def _shape_compared(one: Compared) -> dict[str, Any]:
    causes, differing = one.causes, one.differing
    return {
        "name": one.segment,
        "version": one.version,
        "both": one.both,
        "only_stream": len(differing.stream),
        "only_sql": len(differing.sql),
        "profiles_only_stream": sorted(differing.stream)[:CHUNK],
        "profiles_only_sql": sorted(differing.sql)[:CHUNK],
        "causes": {"approximate": causes.approximate, "stale": causes.stale, "registers": causes.registers},
        "approximate_leaves": [{"text": text, "profiles": count} for text, count in causes.leaves],
    }
