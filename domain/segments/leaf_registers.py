"""Which registers a leaf or a computed trait needs, and how much of each: the bounds are known before any event comes. Pure."""

from collections.abc import Sequence
from functools import singledispatch
from typing import Any

from domain.fields import Strict
from domain.segments.computed_traits import (AmountTrait, ComputedTraitSpec, CountTrait, DaysSinceTrait, LifecycleTrait, OccurrenceTrait, RfmTrait, ValuesTrait)
from domain.segments.leaf_models import (MAX_DISTINCT, NO_END, AggregateLeaf, ConsentLeaf, DidLeaf, DidNotLeaf, Events, OccurrenceLeaf, RegularlyLeaf, SequenceLeaf, SubscribedLeaf)
from domain.segments.registers import (CONSENT_EVENT, SLACK_MS, Form, Register)


def _horizon(within: int | None) -> int | None:
    return None if within is None else within + SLACK_MS


def _newest(events: Events, keep: int, **more: Any) -> Register:
    return Register(events.event, events.where, "newest", keep=keep, horizon_ms=_horizon(events.within), **more)


@singledispatch
def needs(_leaf: Strict) -> Sequence[Register]:
    """The registers of a leaf, or of a computed trait's computation, in the order that its evaluation expects. None for most."""
    return ()


@needs.register
def _(leaf: DidLeaf) -> Sequence[Register]:
    fewest, most = leaf.range
    return (_newest(leaf, max(fewest, most + 1 if most < NO_END else 0, 1)),)


@needs.register
def _(leaf: DidNotLeaf) -> Sequence[Register]:
    return (_newest(leaf, 1),)


def occurrence(leaf: OccurrenceLeaf, form: Form) -> Register:
    """The register of `first` (form oldest) or `last` (newest)."""
    return Register(leaf.event, leaf.where, form, "having" if leaf.having else "nothing", having=leaf.having, keep=1)


@needs.register
def _(leaf: AggregateLeaf) -> Sequence[Register]:
    if leaf.of == "distinct":
        horizon = _horizon(leaf.within)
        return (
            Register(leaf.event, leaf.where, "newest_of_each", "value", (leaf.prop,), keep=MAX_DISTINCT + 1, horizon_ms=horizon),
        )
    return _amounts(leaf, leaf.of, leaf.prop, leaf.keep)


def _amounts(events: Events, of: str, prop: str, keep: int) -> Sequence[Register]:
    """In a window the newest amounts are kept; over all time a sum, or the one that is the smallest or largest."""
    if events.within is not None:
        return (_newest(events, keep + 1, take="amount", of=(prop,)),)
    form: Form = {"min": "smallest", "max": "largest"}.get(of, "tally")  # type: ignore[assignment]  # one of the forms
    return (Register(events.event, events.where, form, "amount", (prop,)),)


@needs.register
def _(leaf: SequenceLeaf) -> Sequence[Register]:
    first, second = leaf.first, leaf.second
    horizon = _horizon(first.within)
    last = first.pick == "last"
    forms: tuple[Form, Form] = (
        "newest_of_each" if last else "newest",
        "newest_of_each" if last and second.within is None else "newest",
    )
    room: dict[str, Any] = {"take": "key", "of": second.same, "keep": leaf.keep + 1, "horizon_ms": horizon}
    return Register(first.event, first.where, forms[0], **room), Register(second.event, second.where, forms[1], **room)


@needs.register
def _(leaf: RegularlyLeaf) -> Sequence[Register]:
    return (Register(leaf.event, leaf.where, "periods", keep=leaf.of, period_ms=leaf.every, offset_ms=leaf.offset_ms),)


@needs.register
def _(leaf: ConsentLeaf) -> Sequence[Register]:
    return (Register(CONSENT_EVENT, (), "newest", "consent", (leaf.purpose,)),)


@needs.register
def _(leaf: SubscribedLeaf) -> Sequence[Register]:
    return (Register("$identify", (), "newest", "subscription", (leaf.channel.lower(),)),)


@needs.register
def _(trait: CountTrait) -> Sequence[Register]:
    if trait.within is None:
        return (Register(trait.event, trait.where, "tally"),)
    return (_newest(trait, trait.keep + 1),)


def amounts(trait: AmountTrait, kind: str) -> Sequence[Register]:
    """The registers of the computed traits sum, avg, min and max."""
    return _amounts(trait, kind, trait.prop, trait.keep)


def values(trait: ValuesTrait, kind: str) -> Sequence[Register]:
    """The registers of `most_frequent` and `unique`."""
    if kind == "unique":
        form, keep = "newest_of_each", trait.keep + 1
    else:
        form, keep = ("tally", trait.keep + 1) if trait.within is None else ("newest", trait.keep + 1)
    horizon = _horizon(trait.within)
    return (Register(trait.event, trait.where, form, "value", (trait.prop,), keep=keep, horizon_ms=horizon),)  # type: ignore[arg-type]  # one of the forms


def extreme(trait: OccurrenceTrait, kind: str) -> Sequence[Register]:
    """The register of `first` and `last`: only events with a value count."""
    return (Register(trait.event, trait.where, "oldest" if kind == "first" else "newest", "value", (trait.prop,)),)


@needs.register
def _(trait: DaysSinceTrait) -> Sequence[Register]:
    return (Register(trait.event, trait.where, "oldest" if trait.which == "first" else "newest"),)


@needs.register
def _(trait: RfmTrait) -> Sequence[Register]:
    return (
        Register(
            trait.event, trait.where, "newest", "amount_or_nothing", (trait.prop,), keep=trait.keep + 1,
            horizon_ms=_horizon(trait.within),
        ),
    )  # fmt: skip


@needs.register
def _(trait: LifecycleTrait) -> Sequence[Register]:
    return (Register(trait.event, trait.where, "newest", keep=trait.loyal_orders),)


@needs.register
def _(spec: ComputedTraitSpec) -> Sequence[Register]:
    inner = getattr(spec, spec.kind)
    if isinstance(inner, AmountTrait):
        return amounts(inner, spec.kind)
    if isinstance(inner, ValuesTrait):
        return values(inner, spec.kind)
    if isinstance(inner, OccurrenceTrait):
        return extreme(inner, spec.kind)
    return needs(inner)
