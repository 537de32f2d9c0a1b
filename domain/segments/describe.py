"""Nodes and computed traits in words: what is asked, for people. Pure."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from domain.fields import StrictModel, format_duration
from domain.segments.comparisons import Comparison, TraitLeaf
from domain.segments.computed_traits import ComputedTraitSpec, LifecycleTrait, RfmTrait
from domain.segments.language import InListCondition, InSegmentCondition, Node, keyword_of
from domain.segments.leaf_models import (
    UNBOUNDED_TIMES,
    AccountLeaf,
    AggregateLeaf,
    CalendarLeaf,
    ConsentLeaf,
    DidLeaf,
    DidNotLeaf,
    EventFilter,
    HouseholdLeaf,
    LifecycleLeaf,
    OccurrenceLeaf,
    PercentLeaf,
    RegularlyLeaf,
    RfmLeaf,
    SequenceLeaf,
    SubscribedLeaf,
)
from domain.segments.tree import leaf_of

_OPERATOR_TEXT: Final[Mapping[str, str]] = {
    "eq": "=", "ne": "≠", "lt": "<", "lte": "≤", "gt": ">", "gte": "≥", "in": "in", "contains": "contains",
    "starts_with": "starts with", "before": "before", "after": "after", "within_last": "within the last",
    "within_next": "within the next", "more_than_ago": "more than this ago:", "more_than_ahead": "more than this ahead:",
}  # fmt: skip
_AGGREGATE_TEXT: Final[Mapping[str, str]] = {
    "sum": "the sum of", "avg": "the average of", "min": "the smallest", "max": "the largest", "distinct": "the distinct values of",
}  # fmt: skip


def describe_node(node: Node) -> str:
    """What a node asks, on one line; of `all`, `any` and `not` the word alone."""
    keyword = keyword_of(type(node))
    if keyword in ("all", "any"):
        return f"{keyword} of these"
    if keyword in ("not", "everyone"):
        return keyword
    if isinstance(node, InSegmentCondition):
        return f"in the segment {node.in_segment}"
    if isinstance(node, InListCondition):
        return f"on the list {node.list}"
    leaf = leaf_of(node)
    return f"{_SUBJECT_TEXT[type(leaf)](keyword, leaf)} {describe_expectation(node)}".strip()


def describe_expectation(node: Node) -> str:
    """What a leaf's value is compared with; empty when the leaf says it all."""
    leaf = leaf_of(node)
    describe_leaf = _EXPECTATION_TEXT.get(type(leaf))
    return describe_leaf(leaf) if describe_leaf is not None else ""


def describe_computed_trait(name: str, spec: ComputedTraitSpec) -> str:
    """How a computed trait comes about."""
    computation = getattr(spec, spec.kind)
    events_text = _event_text(computation.event, computation.where) + _window_text(getattr(computation, "within", None))
    if isinstance(computation, RfmTrait | LifecycleTrait):
        return f"computed.{name}: {spec.kind} of {events_text}"
    property_text = f" of {computation.prop}" if hasattr(computation, "prop") else ""
    kind_text = spec.kind.replace("_", " ") if spec.kind != "days_since" else f"days since the {computation.which}"
    return f"computed.{name}: {kind_text}{property_text}, {events_text}"


def format_value(value: Any) -> str:
    """A value as people read it."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return ", ".join(format_value(item) for item in value) or "none"
    if isinstance(value, dict):
        return " ".join(f"{name} {format_value(one)}" for name, one in value.items())
    return "none" if value is None else json.dumps(value, ensure_ascii=False)


def _times_text(leaf: DidLeaf) -> str:
    fewest, most = leaf.times_range
    if fewest == most:
        return f"exactly {fewest} times"
    if most == UNBOUNDED_TIMES:
        return f"at least {fewest} times"
    return f"at most {most} times" if fewest == 0 else f"{fewest} to {most} times"


def _occurrence_text(leaf: OccurrenceLeaf) -> str:
    parts = [f"with {_comparisons_text(leaf.having)}"] if leaf.having else []
    parts += [f"in the last {format_duration(leaf.within)}"] if leaf.within is not None else []
    parts += [f"not in the last {format_duration(leaf.not_within)}"] if leaf.not_within is not None else []
    return ", ".join(parts)


def _follow_up_text(leaf: SequenceLeaf) -> str:
    follow_up = leaf.follow_up
    within_text = "" if follow_up.within is None else f" within {format_duration(follow_up.within)}"
    same_text = f", with the same {', '.join(follow_up.same)}" if follow_up.same else ""
    return f"then {'' if leaf.then_not is None else 'no '}{_event_text(follow_up.event, follow_up.where)}{within_text}{same_text}"


def _scores_text(leaf: RfmLeaf) -> str:
    required = ((name, getattr(leaf, name)) for name in ("recency", "frequency", "monetary"))
    return ", ".join(f"{name} {_options_text(scores)}" for name, scores in required if scores)


def _calendar_text(leaf: CalendarLeaf) -> str:
    day = "its day" if leaf.days == 1 else f"{leaf.days} days"
    start = "" if leaf.before == 0 else f", from {leaf.before} days before"
    return f"{day}{start}, in the zone {leaf.zone_trait} or {leaf.zone}"


def _group_text(leaf: AccountLeaf | HouseholdLeaf) -> str:
    parts = [f"{leaf.trait.path} {_trait_text(leaf.trait)}"] if leaf.trait is not None else []
    parts += [f"at least {leaf.members.at_least} members"] if leaf.members is not None else []
    count_leaf = leaf.did if isinstance(leaf, HouseholdLeaf) else None
    parts += [f"{count_leaf.event} at least {count_leaf.at_least} times"] if count_leaf is not None else []
    return ", ".join(parts)


def _trait_text(leaf: TraitLeaf) -> str:
    if leaf.relative_ms is not None:
        return f"{_OPERATOR_TEXT[leaf.op]} {format_duration(leaf.relative_ms)}"
    return _comparison_text(leaf.comparison)


_EXPECTATION_TEXT: Final[Mapping[type[StrictModel], Callable[[Any], str]]] = {
    TraitLeaf: _trait_text,
    DidLeaf: _times_text,
    OccurrenceLeaf: _occurrence_text,
    AggregateLeaf: lambda leaf: f"{_OPERATOR_TEXT[leaf.op]} {leaf.value}",
    SequenceLeaf: _follow_up_text,
    RegularlyLeaf: lambda leaf: f"at least {leaf.at_least} of the last {leaf.of} periods of {format_duration(leaf.every)}",
    PercentLeaf: lambda leaf: f"below {leaf.buckets} of 10000",
    RfmLeaf: _scores_text,
    LifecycleLeaf: lambda leaf: _options_text(leaf.stage),
    ConsentLeaf: lambda leaf: leaf.status,
    SubscribedLeaf: lambda leaf: leaf.status,
    CalendarLeaf: _calendar_text,
    AccountLeaf: _group_text,
    HouseholdLeaf: _group_text,
}


def _did_not_subject(_keyword: str, leaf: DidNotLeaf) -> str:
    return f"never {_event_filter_text(leaf)}" if leaf.within is None else f"no {_event_filter_text(leaf)}"


def _sequence_subject(_keyword: str, leaf: SequenceLeaf) -> str:
    picked = "any" if leaf.first.pick == "any" else f"the {leaf.first.pick}"
    return f"{picked} {_event_filter_text(leaf.first)}"


_SUBJECT_TEXT: Final[Mapping[type[StrictModel], Callable[[str, Any], str]]] = {
    TraitLeaf: lambda _, leaf: leaf.path,
    DidLeaf: lambda _, leaf: f"{_event_filter_text(leaf)}:",
    DidNotLeaf: _did_not_subject,
    OccurrenceLeaf: lambda keyword, leaf: f"the {keyword} {_event_text(leaf.event, leaf.where)}",
    AggregateLeaf: lambda _, leaf: f"{_AGGREGATE_TEXT[leaf.of]} {leaf.prop}, {_event_filter_text(leaf)}",
    SequenceLeaf: _sequence_subject,
    RegularlyLeaf: lambda _, leaf: f"{_event_text(leaf.event, leaf.where)} in",
    PercentLeaf: lambda _, leaf: f"{leaf.of:g} % of all profiles, chosen by {leaf.salt}: bucket",
    RfmLeaf: lambda _, leaf: f"computed.{leaf.of}",
    LifecycleLeaf: lambda _, leaf: f"computed.{leaf.of}",
    ConsentLeaf: lambda _, leaf: f"consent to {leaf.purpose}:",
    SubscribedLeaf: lambda _, leaf: f"messages by {leaf.channel}:",
    CalendarLeaf: lambda _, leaf: f"the anniversary of {leaf.trait}:",
    AccountLeaf: lambda _, _leaf: "an account:",
    HouseholdLeaf: lambda _, _leaf: "the household:",
}


def _event_filter_text(leaf: EventFilter) -> str:
    return f"{_event_text(leaf.event, leaf.where)}{_window_text(leaf.within)}"


def _event_text(event: str, where: Iterable[Any]) -> str:
    comparisons_text = _comparisons_text(where)
    return f"{event} ({comparisons_text})" if comparisons_text else event


def _window_text(within: int | None) -> str:
    return "" if within is None else f" in the last {format_duration(within)}"


def _comparisons_text(comparisons: Iterable[Any]) -> str:
    return ", ".join(f"{comparison.prop} {_comparison_text(comparison)}" for comparison in comparisons)


def _comparison_text(comparison: Comparison) -> str:
    if comparison.op == "exists":
        return "is missing" if comparison.value is False else "is there"
    folded_text = " (without regard to case and accents)" if comparison.fold else ""
    return f"{_OPERATOR_TEXT[comparison.op]} {format_value(comparison.value)}{folded_text}"


def _options_text(values: Iterable[object]) -> str:
    return " or ".join(str(value) for value in values)
