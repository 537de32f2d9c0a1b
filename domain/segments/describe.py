"""Nodes and computed traits in words: what is asked, for people. Pure."""

from domain.segments.computed_traits import ComputedTraitSpec, LifecycleTrait, RfmTrait
from domain.segments.event_filter import event_text
from domain.segments.language import AllOf, AnyOf, InSegmentCondition, Node, Not, keyword_of
from domain.segments.leaves.leaf import LeafCondition
from domain.segments.phrases import window_text


def describe_node(node: Node) -> str:
    """Return what a node asks, on one line; `all`, `any` and `not` do not repeat their children."""
    if isinstance(node, LeafCondition):
        return f"{node.subject()} {node.expectation()}".strip()
    if isinstance(node, InSegmentCondition):
        return f"in the segment {node.in_segment}"
    return f"{keyword_of(type(node))} of these" if isinstance(node, AllOf | AnyOf) else keyword_of(Not)


def describe_computed_trait(name: str, spec: ComputedTraitSpec) -> str:
    """Return how a computed trait comes about: `computed.spent: sum of total, Order Completed in the last 90d`."""
    computation = getattr(spec, spec.kind)
    events_text = event_text(computation.event, computation.where) + window_text(getattr(computation, "within", None))
    if isinstance(computation, RfmTrait | LifecycleTrait):
        return f"computed.{name}: {spec.kind} of {events_text}"
    property_text = f" of {computation.prop}" if hasattr(computation, "prop") else ""
    kind_text = spec.kind.replace("_", " ") if spec.kind != "days_since" else f"days since the {computation.which}"
    return f"computed.{name}: {kind_text}{property_text}, {events_text}"
