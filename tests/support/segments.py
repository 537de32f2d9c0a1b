"""Definitions from a few words, and the facts that events come to."""

from collections.abc import Iterable, Mapping
from typing import Any

from domain.profiles import fragment as model
from schemas.events import Event
from domain.definitions.kinds import (AnyDefinition, ComputedTrait, Segment, SegmentList, parse)
from domain.segments.profile_facts import Answer, Facts
from domain.segments.plan import Plan
from domain.segments.tree import answers
from tests.support.events import event

OWNER = {"user_id": "khách-1"}


def _document(kind: str, name: str, spec: Any) -> AnyDefinition:
    return parse({"apiVersion": "onefold/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}, "test")


def segment(name: str, where: Any) -> Segment:
    """The segment of a condition; raises BadDefinition."""
    document = _document("Segment", name, {"where": where})
    assert isinstance(document, Segment)
    return document


def computed(name: str, spec: Any) -> ComputedTrait:
    """A computed trait; raises BadDefinition."""
    document = _document("ComputedTrait", name, spec)
    assert isinstance(document, ComputedTrait)
    return document


def listed(name: str, nodes: Iterable[str]) -> SegmentList:
    """A list of nodes."""
    document = _document("List", name, {"namespace": "user_id", "nodes": list(nodes)})
    assert isinstance(document, SegmentList)
    return document


def happened(name: str, at_ms: int, properties: Mapping[str, Any] | None = None, **more: Any) -> Event:
    """An event of one customer. Its id says all that it is made of, unless one is given."""
    said = {"id": f"{name} {at_ms} {properties} {more}", "type": "track", "name": name, **more}
    if name.startswith("$"):
        said |= {"type": name[1:], "name": ""}
    identifiers = said.pop("identifiers", OWNER)
    return event(identifiers, time_ms=at_ms, properties=properties, **said)


def facts(plan: Plan, events: Iterable[Event], **more: Any) -> Facts:
    """What segments see of a profile with these events, which came in this order; `more` are further facts."""
    fragments: dict[str, model.Fragment] = {}
    for one in events:
        model.apply(fragments.setdefault(one.owner, model.Fragment()), one, plan)
    joined = model.join((model.decode(model.encode(fragment)) for fragment in fragments.values()), plan.registers)
    named = {namespace for namespace, _ in joined.named}
    return Facts(**({"traits": joined.traits, "kept": joined.kept, "tallies": joined.tallies, "named": named} | more))


def answer(where: Any, events: Iterable[Event], now_ms: int, **more: Any) -> Answer:
    """What one leaf comes to. Computed traits are what they are then, if `more` says nothing of them."""
    definition = segment("s", where)
    plan = Plan([definition])
    held = facts(plan, events, **more)
    if "computed" not in more:
        values, _ = plan.at(held, now_ms)
        held = facts(plan, events, computed=values, **more)
    return answers(definition.spec.where, plan.registers, plan.lists)(held, now_ms)
