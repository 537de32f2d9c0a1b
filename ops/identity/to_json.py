"""Answers as JSON. Pure."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ops.identity.audit import Told, shape_event
from ops.identity.clusters import Known
from ops.identity.references import (Names, moment, say, shape)
from domain.identity.explanation import (Refusal, Step, Turn, Why)
from domain.identity.clusters import pair
from profile_store.port import Decision, Members
from schemas.records import Decided


def shape_why(known: Known, why: Why, ends: tuple[str, str], seen: Collection[str], names: Names, told: Told) -> dict[str, Any]:
    """The answer to `why`: a verdict, the way between the two, and the reasons that keep them apart. `seen` are those of the two
    of which anything is stored."""
    a, b = ends
    steps = [shape_step(step, known, names, told) for step in why.steps]
    direct = None if why.direct is None else shape_step(why.direct, known, names, told)
    return {
        "a": {**shape(a, names), "profile_id": known.label(a), "seen": a in seen},
        "b": {**shape(b, names), "profile_id": known.label(b), "seen": b in seen},
        "verdict": why.verdict,
        "together": why.verdict in ("same", "together"),
        "path": steps,
        "reasons": [step["refused"] for step in steps if step["refused"] is not None],
        "direct": direct,
        "settled": known.settled([a, b]),
        "rules": known.rules.version,
        "history": told.complete,
    }


def shape_how(profile_id: str, known: Known, turns: Iterable[Turn], names: Names, told: Told) -> dict[str, Any]:
    """The answer to `how`: a profile's members, and its evidence in the order of the replay."""
    nodes = [node for node, label in sorted(known.resolution.labels.items()) if label == profile_id]
    return {
        "profile_id": profile_id,
        "identifiers": [shape(node, names) for node in nodes],
        "turns": [{"outcome": turn.outcome, **shape_step(turn.step, known, names, told)} for turn in turns],
        "settled": known.settled(nodes),
        "rules": known.rules.version,
        "prefer": known.rules.prefer,
        "history": told.complete,
    }


def shape_step(step: Step, known: Known, names: Names, told: Told) -> dict[str, Any]:
    """One piece of evidence."""
    key, edge = pair(step.start, step.end), step.edge
    return {
        "from": shape(step.start, names),
        "to": shape(step.end, names),
        "first_seen": moment(edge.first_ms),
        "last_seen": moment(edge.last_ms),
        "source": edge.source,
        "rule": edge.rule,
        "rules": edge.rules,
        "first_event": shape_event(edge.first_event, told.events.get((key, edge.first_event))),
        "last_event": shape_event(edge.last_event, told.events.get((key, edge.last_event))),
        "refused": None if step.refusal is None else shape_refusal(step.refusal, known, names, told),
    }


def shape_refusal(refusal: Refusal, known: Known, names: Names, told: Told) -> dict[str, Any]:
    """Why a piece of evidence joins nothing, in parts and as a sentence."""
    dead = refusal.dead
    edges = known.evidence.edges
    found: dict[str, Any] = {"reason": dead.reason}
    if dead.reason in ("blocked", "generic", "crowded"):
        found["identifier"] = shape(dead.at, names)
    if dead.reason == "unique":
        found["namespace"] = dead.at
    if refusal.limit is not None:
        found["limit"] = refusal.limit
    if dead.reason == "generic":
        found["count"] = dead.count
    if refusal.decision is not None:
        found["decision"] = shape_decision(refusal.decision, told)
    if refusal.pair is not None:
        found["pair"] = [shape(node, names) for node in refusal.pair]
    if dead.reason == "unique":
        found["sides"] = [[shape(node, names) for node in side] for side in refusal.sides]
    if dead.reason == "size":
        found["sizes"] = [len(side) for side in refusal.sides]
    if refusal.links:
        found["joined_before"] = [
            {"from": shape(a, names), "to": shape(b, names), "last_seen": moment(edges[a, b].last_ms)} for a, b in refusal.links
        ]
    found["text"] = sentence(found, known.rules.prefer)
    return found


def shape_decided(said: Decided, applied: bool, profiles: Mapping[str, Members], names: Names) -> dict[str, Any]:  # noqa: FBT001 - a field of the answer
    """The answer to a decision. `profiles` are those that its nodes are in; when not yet `applied`, those of before."""
    return {
        "operation": said.operation,
        "action": said.action,
        "of": said.of,
        "on": said.on,
        "at": moment(said.at_ms),
        "by": said.by,
        "reason": said.reason,
        "pairs": [{"kind": kind, "a": shape(a, names), "b": shape(b, names)} for kind, a, b in said.pairs],
        "applied": applied,
        "profiles": [
            {"profile_id": name, "identifiers": [shape(node, names) for node in entry.nodes]} for name, entry in profiles.items()
        ],
    }


def shape_decision(decision: Decision, told: Told) -> dict[str, Any]:
    """What a person decided; who and why when the audit knows it."""
    said = told.operations.get(decision.operation)
    audit = {} if said is None else {"action": said.action, "by": said.by, "why": said.reason}
    return {"operation": decision.operation, "at": moment(decision.at_ms), **audit}


def sentence(refused: Mapping[str, Any], prefer: str) -> str:
    """A reason for people."""
    reason = refused["reason"]
    if reason == "cut":
        return f"cut {_by(refused['decision'])}"
    if reason == "apart":
        low, high = refused["pair"]
        return f"{say(low)} and {say(high)} are kept apart, decided {_by(refused['decision'])}"
    if reason == "blocked":
        return f"{say(refused['identifier'])} is blocked: by the identity rules it names nobody"
    if reason == "generic":
        who, namespace = say(refused["identifier"]), refused["identifier"]["namespace"]
        return (
            f"{who} is generic: it was seen with {refused['count']} others that are as strong or stronger, "
            f"a value of {namespace} may be with {refused['limit']}"
        )
    if reason == "crowded":
        return f"{say(refused['identifier'])} is crowded: it was seen with more than {refused['limit']:,} others"
    if reason == "size":
        here, there = refused["sizes"]
        return f"together they would have {here + there:,} identifiers, a profile may have {refused['limit']:,}"
    first = "newest" if prefer == "last" else "oldest"
    held = [say(one) for side in refused["sides"] for one in side]
    return (
        f"a profile may have {refused['limit']} {refused['namespace']}, together they would have {len(held)}: "
        f"{', '.join(held)}; the {first} evidence is taken first"
    )


def _by(decision: Mapping[str, Any]) -> str:
    who = f"by {decision['by']} " if decision.get("by") else ""
    why = f", because: {decision['why']}" if decision.get("why") else ""
    return f"{who}at {decision['at']} (operation {decision['operation']}){why}"
