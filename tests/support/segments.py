"""Short constructors for definitions, events and the facts that segments read."""

from collections.abc import Iterable, Mapping
from typing import Any

from domain.definitions.kinds import AnyDefinition, ComputedTrait, Segment, SegmentList, parse_definition
from domain.definitions.segment_plan import segment_plan_of
from domain.profiles.fragment import Fragment, apply_event, decode_fragment, encode_fragment
from domain.profiles.join import join_fragments
from domain.segments.leaves.leaf import LeafCondition, bind_leaf
from domain.segments.plan import SegmentPlan
from domain.segments.profile_facts import LeafResult, ProfileFacts
from schemas.events import Event
from tests.support.events import event

OWNER = {"user_id": "khách-1"}


def _document(kind: str, name: str, spec: Any) -> AnyDefinition:
    return parse_definition({"apiVersion": "onefold/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}, "test")


def segment(name: str, where: Any) -> Segment:
    """Return the segment of a condition; raises BadDefinition."""
    document = _document("Segment", name, {"where": where})
    assert isinstance(document, Segment)
    return document


def computed(name: str, spec: Any) -> ComputedTrait:
    """Return a computed trait; raises BadDefinition."""
    document = _document("ComputedTrait", name, spec)
    assert isinstance(document, ComputedTrait)
    return document


def list_definition(name: str, nodes: Iterable[str]) -> SegmentList:
    """Return a list of nodes."""
    document = _document("List", name, {"namespace": "user_id", "nodes": list(nodes)})
    assert isinstance(document, SegmentList)
    return document


def customer_event(name: str, at_ms: int, properties: Mapping[str, Any] | None = None, **more: Any) -> Event:
    """Return an event of one customer; unless an id is given, it is made of all the event's fields."""
    fields = {"id": f"{name} {at_ms} {properties} {more}", "type": "track", "name": name, **more}
    if name.startswith("$"):
        fields |= {"type": name[1:], "name": ""}
    identifiers = fields.pop("identifiers", OWNER)
    return event(identifiers, time_ms=at_ms, properties=properties, **fields)


def facts(plan: SegmentPlan, events: Iterable[Event], **more: Any) -> ProfileFacts:
    """Return what segments read of a profile with these events, which arrived in this order; `more` adds or replaces facts."""
    fragments: dict[str, Fragment] = {}
    for item in events:
        apply_event(fragments.setdefault(item.owner, Fragment()), item, plan)
    joined = join_fragments((decode_fragment(encode_fragment(fragment)) for fragment in fragments.values()), plan.registers)
    named = {namespace for namespace, _ in joined.event_identifiers}
    return ProfileFacts(
        **(
            {
                "traits": joined.traits,
                "register_entries": joined.register_entries,
                "tallies": joined.tallies,
                "namespaces": named,
            }
            | more
        )
    )


def evaluate_leaf(where: Any, events: Iterable[Event], now_ms: int, **more: Any) -> LeafResult:
    """Evaluate one leaf over these events.

    Computed traits are evaluated first, unless `more` gives them.
    """
    definition = segment("s", where)
    plan = segment_plan_of([definition])
    profile_facts = facts(plan, events, **more)
    if "computed" not in more:
        values, _ = plan.evaluate_all(profile_facts, now_ms)
        profile_facts = facts(plan, events, computed=values, **more)
    leaf = definition.spec.where
    assert isinstance(leaf, LeafCondition)
    return bind_leaf(leaf, plan.registers, plan.lists)(profile_facts, now_ms)
