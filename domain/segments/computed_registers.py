"""Which registers a computed trait needs, and how much of each: the bounds are known before any event comes. Pure."""

from domain.segments.amounts import amount_registers
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
from domain.segments.event_filter import horizon_ms, newest_register
from domain.segments.registers import Register, RegisterForm


def computed_trait_registers(spec: ComputedTraitSpec) -> tuple[Register, ...]:
    """Return the registers of a computed trait, in the order that its evaluation expects."""
    trait = getattr(spec, spec.kind)
    match trait:
        case CountTrait():
            # Over all time a count is enough. In a window the entries leave one by one, so each of them is stored.
            return (
                Register(trait.event, trait.where, "tally") if trait.within is None else newest_register(trait, trait.keep + 1),
            )
        case AmountTrait():
            return amount_registers(trait, spec.kind, trait.prop, trait.keep)
        case OccurrenceTrait():
            form: RegisterForm = "oldest" if spec.kind == "first" else "newest"
            return (Register(trait.event, trait.where, form, "value", (trait.prop,)),)
        case ValuesTrait():
            return (_values_register(trait, spec.kind),)
        case DaysSinceTrait():
            return (Register(trait.event, trait.where, "oldest" if trait.which == "first" else "newest"),)
        case RfmTrait():
            return (_rfm_register(trait),)
        case LifecycleTrait():
            return (Register(trait.event, trait.where, "newest", capacity=trait.loyal_orders),)
    raise TypeError(f"{spec.kind} is not computed")


def _rfm_register(trait: RfmTrait) -> Register:
    """Return the register of orders with their amounts; an order without an amount counts for recency and frequency."""
    return Register(
        trait.event, trait.where, "newest", "amount_or_nothing", (trait.prop,), capacity=trait.keep + 1,
        horizon_ms=horizon_ms(trait.within),
    )  # fmt: skip


def _values_register(trait: ValuesTrait, kind: str) -> Register:
    """Return the register of `most_frequent` or `unique`."""
    form: RegisterForm = "newest_of_each" if kind == "unique" else "tally" if trait.within is None else "newest"
    return Register(
        trait.event, trait.where, form, "value", (trait.prop,), capacity=trait.keep + 1, horizon_ms=horizon_ms(trait.within)
    )
