"""Nodes and computed traits in words: what is asked, for people. Pure."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from domain.fields import Strict, duration_text
from domain.segments.computed_traits import ComputedTraitSpec, LifecycleTrait, RfmTrait
from domain.segments.comparisons import Condition, TraitLeaf
from domain.segments.language import (InList, InSegment, Node, keyword_of)
from domain.segments.leaf_models import (NO_END, AccountLeaf, AggregateLeaf, CalendarLeaf, ConsentLeaf, DidLeaf, DidNotLeaf, Events, HouseholdLeaf, LifecycleLeaf, OccurrenceLeaf, PercentLeaf, RegularlyLeaf, RfmLeaf, SequenceLeaf, SubscribedLeaf)
from domain.segments.tree import leaf_of

_SAID: Final[Mapping[str, str]] = {
    "eq": "=", "ne": "≠", "lt": "<", "lte": "≤", "gt": ">", "gte": "≥", "in": "in", "contains": "contains",
    "starts_with": "starts with", "before": "before", "after": "after", "within_last": "within the last",
    "within_next": "within the next", "more_than_ago": "more than this ago:", "more_than_ahead": "more than this ahead:",
}  # fmt: skip
_OF: Final[Mapping[str, str]] = {
    "sum": "the sum of", "avg": "the average of", "min": "the smallest", "max": "the largest", "distinct": "the distinct values of",
}  # fmt: skip


def words(node: Node) -> str:
    """What a node asks, on one line; of `all`, `any` and `not` the word alone."""
    keyword = keyword_of(type(node))
    if keyword in ("all", "any"):
        return f"{keyword} of these"
    if keyword in ("not", "everyone"):
        return keyword
    if isinstance(node, InSegment):
        return f"in the segment {node.in_segment}"
    if isinstance(node, InList):
        return f"on the list {node.list}"
    leaf = leaf_of(node)
    return f"{_SUBJECT[type(leaf)](keyword, leaf)} {wanted(node)}".strip()


def wanted(node: Node) -> str:
    """What a leaf's value is compared with; empty when the leaf says it all."""
    leaf = leaf_of(node)
    found = _WANTED.get(type(leaf))
    return found(leaf) if found is not None else ""


def computed_words(name: str, spec: ComputedTraitSpec) -> str:
    """How a computed trait comes about."""
    inner = getattr(spec, spec.kind)
    if isinstance(inner, RfmTrait | LifecycleTrait):
        return f"computed.{name}: {spec.kind} of {_named(inner.event, inner.where)}{_last(getattr(inner, 'within', None))}"
    of = f" of {inner.prop}" if hasattr(inner, "prop") else ""
    kind = spec.kind.replace("_", " ") if spec.kind != "days_since" else f"days since the {inner.which}"
    return f"computed.{name}: {kind}{of}, {_named(inner.event, inner.where)}{_last(getattr(inner, 'within', None))}"


def value_text(value: Any) -> str:
    """A value as people read it."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return ", ".join(value_text(one) for one in value) or "none"
    if isinstance(value, dict):
        return " ".join(f"{name} {value_text(one)}" for name, one in value.items())
    return "none" if value is None else json.dumps(value, ensure_ascii=False)


def _times(leaf: DidLeaf) -> str:
    fewest, most = leaf.range
    if fewest == most:
        return f"exactly {fewest} times"
    if most == NO_END:
        return f"at least {fewest} times"
    return f"at most {most} times" if fewest == 0 else f"{fewest} to {most} times"


def _occurrence(leaf: OccurrenceLeaf) -> str:
    parts = [f"with {_where(leaf.having)}"] if leaf.having else []
    parts += [f"in the last {duration_text(leaf.within)}"] if leaf.within is not None else []
    parts += [f"not in the last {duration_text(leaf.not_within)}"] if leaf.not_within is not None else []
    return ", ".join(parts)


def _then(leaf: SequenceLeaf) -> str:
    second = leaf.second
    within = "" if second.within is None else f" within {duration_text(second.within)}"
    same = f", with the same {', '.join(second.same)}" if second.same else ""
    return f"then {'' if leaf.then_not is None else 'no '}{_named(second.event, second.where)}{within}{same}"


def _scores(leaf: RfmLeaf) -> str:
    asked = ((name, getattr(leaf, name)) for name in ("recency", "frequency", "monetary"))
    return ", ".join(f"{name} {_options(scores)}" for name, scores in asked if scores)


def _calendar(leaf: CalendarLeaf) -> str:
    day = "its day" if leaf.days == 1 else f"{leaf.days} days"
    start = "" if leaf.before == 0 else f", from {leaf.before} days before"
    return f"{day}{start}, in the zone {leaf.zone_trait} or {leaf.zone}"


def _group(leaf: AccountLeaf | HouseholdLeaf) -> str:
    parts = [f"{leaf.trait.path} {_trait(leaf.trait)}"] if leaf.trait is not None else []
    parts += [f"at least {leaf.members.at_least} members"] if leaf.members is not None else []
    counted = leaf.did if isinstance(leaf, HouseholdLeaf) else None
    parts += [f"{counted.event} at least {counted.at_least} times"] if counted is not None else []
    return ", ".join(parts)


def _trait(leaf: TraitLeaf) -> str:
    if leaf.relative_ms is not None:
        return f"{_SAID[leaf.op]} {duration_text(leaf.relative_ms)}"
    return _condition(leaf.condition)


_WANTED: Final[Mapping[type[Strict], Callable[[Any], str]]] = {
    TraitLeaf: _trait,
    DidLeaf: _times,
    OccurrenceLeaf: _occurrence,
    AggregateLeaf: lambda leaf: f"{_SAID[leaf.op]} {leaf.value}",
    SequenceLeaf: _then,
    RegularlyLeaf: lambda leaf: f"at least {leaf.at_least} of the last {leaf.of} periods of {duration_text(leaf.every)}",
    PercentLeaf: lambda leaf: f"below {leaf.buckets} of 10000",
    RfmLeaf: _scores,
    LifecycleLeaf: lambda leaf: _options(leaf.stage),
    ConsentLeaf: lambda leaf: leaf.status,
    SubscribedLeaf: lambda leaf: leaf.status,
    CalendarLeaf: _calendar,
    AccountLeaf: _group,
    HouseholdLeaf: _group,
}


def _never(_keyword: str, leaf: DidNotLeaf) -> str:
    return f"never {_events(leaf)}" if leaf.within is None else f"no {_events(leaf)}"


def _sequence(_keyword: str, leaf: SequenceLeaf) -> str:
    picked = "any" if leaf.first.pick == "any" else f"the {leaf.first.pick}"
    return f"{picked} {_events(leaf.first)}"


_SUBJECT: Final[Mapping[type[Strict], Callable[[str, Any], str]]] = {
    TraitLeaf: lambda _, leaf: leaf.path,
    DidLeaf: lambda _, leaf: f"{_events(leaf)}:",
    DidNotLeaf: _never,
    OccurrenceLeaf: lambda keyword, leaf: f"the {keyword} {_named(leaf.event, leaf.where)}",
    AggregateLeaf: lambda _, leaf: f"{_OF[leaf.of]} {leaf.prop}, {_events(leaf)}",
    SequenceLeaf: _sequence,
    RegularlyLeaf: lambda _, leaf: f"{_named(leaf.event, leaf.where)} in",
    PercentLeaf: lambda _, leaf: f"{leaf.of:g} % of all profiles, chosen by {leaf.salt}: bucket",
    RfmLeaf: lambda _, leaf: f"computed.{leaf.of}",
    LifecycleLeaf: lambda _, leaf: f"computed.{leaf.of}",
    ConsentLeaf: lambda _, leaf: f"consent to {leaf.purpose}:",
    SubscribedLeaf: lambda _, leaf: f"messages by {leaf.channel}:",
    CalendarLeaf: lambda _, leaf: f"the anniversary of {leaf.trait}:",
    AccountLeaf: lambda _, _leaf: "an account:",
    HouseholdLeaf: lambda _, _leaf: "the household:",
}


def _events(leaf: Events) -> str:
    return f"{_named(leaf.event, leaf.where)}{_last(leaf.within)}"


def _named(event: str, where: Iterable[Any]) -> str:
    asked = _where(where)
    return f"{event} ({asked})" if asked else event


def _last(within: int | None) -> str:
    return "" if within is None else f" in the last {duration_text(within)}"


def _where(conditions: Iterable[Any]) -> str:
    return ", ".join(f"{condition.prop} {_condition(condition)}" for condition in conditions)


def _condition(condition: Condition) -> str:
    if condition.op == "exists":
        return "is missing" if condition.value is False else "is there"
    folded = " (without regard to case and accents)" if condition.fold else ""
    return f"{_SAID[condition.op]} {value_text(condition.value)}{folded}"


def _options(values: Iterable[object]) -> str:
    return " or ".join(str(value) for value in values)
