"""Which registers a leaf or a computed trait needs, and how much of each: the bounds are known before any event comes. Pure."""

from collections.abc import Sequence
from functools import singledispatch
from typing import Any

from domain.fields import StrictModel
from domain.segments.computed_traits import (
    AmountTrait,
    ComputedTraitSpec,
    CountTrait,
    DaysSinceTrait,
    LifecycleTrait,
    OccurrenceTrait,
    RfmTrait,
    ValuesTrait,
)
from domain.segments.leaf_models import (
    MAX_DISTINCT,
    UNBOUNDED_TIMES,
    AggregateLeaf,
    ConsentLeaf,
    DidLeaf,
    DidNotLeaf,
    EventFilter,
    OccurrenceLeaf,
    RegularlyLeaf,
    SequenceLeaf,
    SubscribedLeaf,
)
from domain.segments.registers import CONSENT_EVENT, HORIZON_SLACK_MS, Register, RegisterForm


def _horizon_ms(within: int | None) -> int | None:
    return None if within is None else within + HORIZON_SLACK_MS


def _newest_register(events: EventFilter, capacity: int, **more: Any) -> Register:
    return Register(events.event, events.where, "newest", capacity=capacity, horizon_ms=_horizon_ms(events.within), **more)


@singledispatch
def registers_for(_leaf: StrictModel) -> Sequence[Register]:
    """The registers of a leaf, or of a computed trait's computation, in the order that its evaluation expects. None for most."""
    return ()


@registers_for.register
def _(leaf: DidLeaf) -> Sequence[Register]:
    fewest, most = leaf.times_range
    return (_newest_register(leaf, max(fewest, most + 1 if most < UNBOUNDED_TIMES else 0, 1)),)


@registers_for.register
def _(leaf: DidNotLeaf) -> Sequence[Register]:
    return (_newest_register(leaf, 1),)


def occurrence_register(leaf: OccurrenceLeaf, form: RegisterForm) -> Register:
    """The register of `first` (form oldest) or `last` (newest)."""
    return Register(leaf.event, leaf.where, form, "having" if leaf.having else "nothing", having=leaf.having, capacity=1)


@registers_for.register
def _(leaf: AggregateLeaf) -> Sequence[Register]:
    if leaf.of == "distinct":
        horizon = _horizon_ms(leaf.within)
        return (
            Register(
                leaf.event, leaf.where, "newest_of_each", "value", (leaf.prop,), capacity=MAX_DISTINCT + 1, horizon_ms=horizon
            ),
        )
    return _amount_registers(leaf, leaf.of, leaf.prop, leaf.keep)


def _amount_registers(events: EventFilter, function: str, prop: str, capacity: int) -> Sequence[Register]:
    """In a window the newest amounts are kept; over all time a sum, or the one that is the smallest or largest."""
    if events.within is not None:
        return (_newest_register(events, capacity + 1, extract="amount", paths=(prop,)),)
    form: RegisterForm = {"min": "smallest", "max": "largest"}.get(function, "tally")  # type: ignore[assignment]  # one of the forms
    return (Register(events.event, events.where, form, "amount", (prop,)),)


@registers_for.register
def _(leaf: SequenceLeaf) -> Sequence[Register]:
    first, second = leaf.first, leaf.follow_up
    horizon = _horizon_ms(first.within)
    last = first.pick == "last"
    forms: tuple[RegisterForm, RegisterForm] = (
        "newest_of_each" if last else "newest",
        "newest_of_each" if last and second.within is None else "newest",
    )
    shared_arguments: dict[str, Any] = {"extract": "key", "paths": second.same, "capacity": leaf.keep + 1, "horizon_ms": horizon}
    return Register(first.event, first.where, forms[0], **shared_arguments), Register(
        second.event, second.where, forms[1], **shared_arguments
    )


@registers_for.register
def _(leaf: RegularlyLeaf) -> Sequence[Register]:
    return (Register(leaf.event, leaf.where, "periods", capacity=leaf.of, period_ms=leaf.every, offset_ms=leaf.offset_ms),)


@registers_for.register
def _(leaf: ConsentLeaf) -> Sequence[Register]:
    return (Register(CONSENT_EVENT, (), "newest", "consent", (leaf.purpose,)),)


@registers_for.register
def _(leaf: SubscribedLeaf) -> Sequence[Register]:
    return (Register("$identify", (), "newest", "subscription", (leaf.channel.lower(),)),)


@registers_for.register
def _(trait: CountTrait) -> Sequence[Register]:
    if trait.within is None:
        return (Register(trait.event, trait.where, "tally"),)
    return (_newest_register(trait, trait.keep + 1),)


def amount_trait_registers(trait: AmountTrait, kind: str) -> Sequence[Register]:
    """The registers of the computed traits sum, avg, min and max."""
    return _amount_registers(trait, kind, trait.prop, trait.keep)


def values_trait_registers(trait: ValuesTrait, kind: str) -> Sequence[Register]:
    """The registers of `most_frequent` and `unique`."""
    if kind == "unique":
        form, capacity = "newest_of_each", trait.keep + 1
    else:
        form, capacity = ("tally", trait.keep + 1) if trait.within is None else ("newest", trait.keep + 1)
    horizon_ms = _horizon_ms(trait.within)
    return (Register(trait.event, trait.where, form, "value", (trait.prop,), capacity=capacity, horizon_ms=horizon_ms),)  # type: ignore[arg-type]  # one of the forms


def occurrence_trait_registers(trait: OccurrenceTrait, kind: str) -> Sequence[Register]:
    """The register of `first` and `last`: only events with a value count."""
    return (Register(trait.event, trait.where, "oldest" if kind == "first" else "newest", "value", (trait.prop,)),)


@registers_for.register
def _(trait: DaysSinceTrait) -> Sequence[Register]:
    return (Register(trait.event, trait.where, "oldest" if trait.which == "first" else "newest"),)


@registers_for.register
def _(trait: RfmTrait) -> Sequence[Register]:
    return (
        Register(
            trait.event, trait.where, "newest", "amount_or_nothing", (trait.prop,), capacity=trait.keep + 1,
            horizon_ms=_horizon_ms(trait.within),
        ),
    )  # fmt: skip


@registers_for.register
def _(trait: LifecycleTrait) -> Sequence[Register]:
    return (Register(trait.event, trait.where, "newest", capacity=trait.loyal_orders),)


@registers_for.register
def _(spec: ComputedTraitSpec) -> Sequence[Register]:
    inner = getattr(spec, spec.kind)
    if isinstance(inner, AmountTrait):
        return amount_trait_registers(inner, spec.kind)
    if isinstance(inner, ValuesTrait):
        return values_trait_registers(inner, spec.kind)
    if isinstance(inner, OccurrenceTrait):
        return occurrence_trait_registers(inner, spec.kind)
    return registers_for(inner)
