"""What a computed trait comes to, of a profile's facts at an instant. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from domain.segments.computed_traits import (AmountTrait, ComputedTraitSpec, CountTrait, DaysSinceTrait, LifecycleTrait, OccurrenceTrait, RfmTrait, ValuesTrait)
from domain.segments.comparisons import DAY_MS, NEVER
from domain.segments.evaluate import amounts
from domain.segments.profile_facts import Answer, Facts
from domain.segments.registers import (AMOUNT, Register, canonical, millionths, number_of, value_of)
from domain.segments.windows import inside

KNOWN: Final = frozenset({"user_id", "crm_id", "email", "phone"})
"""Namespaces that make a visitor a lead."""


def compute(spec: ComputedTraitSpec, registers: Sequence[Register], facts: Facts, now_ms: int) -> Answer:
    """The value (None: there is none), and when it changes by itself."""
    inner, register = getattr(spec, spec.kind), registers[0]
    match inner:
        case CountTrait():
            return _count(inner, register, facts, now_ms)
        case AmountTrait():
            return _amount(inner, spec.kind, register, facts, now_ms)
        case OccurrenceTrait():
            entry = next((one for one in facts.entries(register) if one[0] <= now_ms), None)
            return Answer(None) if entry is None else Answer(entry[2], behind=[entry])
        case ValuesTrait():
            return _values(inner, spec.kind, register, facts, now_ms)
        case DaysSinceTrait():
            return _days_since(register, facts, now_ms)
        case RfmTrait():
            return _rfm(inner, register, facts, now_ms)
        case LifecycleTrait():
            return _lifecycle(inner, register, facts, now_ms)
    raise TypeError(f"{spec.kind} is not computed")


def _count(trait: CountTrait, register: Register, facts: Facts, now_ms: int) -> Answer:
    if trait.within is None:
        counted = facts.tallies.get(register.key, {}).get("")
        return Answer(0 if counted is None else counted[0])
    found = inside(facts.entries(register), trait.within, now_ms)
    times = len(found.entries)
    return Answer(times, next_ms=found.next_ms, behind=found.entries, approximate=times >= register.keep)


def _amount(trait: AmountTrait, kind: str, register: Register, facts: Facts, now_ms: int) -> Answer:
    total, times, next_ms, behind = amounts(kind, trait.within, register, facts, now_ms)
    if times == 0:
        return Answer(None, next_ms=next_ms)
    value = total / AMOUNT / times if kind == "avg" else number_of(total)
    return Answer(value, next_ms=next_ms, behind=behind, approximate=register.form == "newest" and times >= register.keep)


def _values(trait: ValuesTrait, kind: str, register: Register, facts: Facts, now_ms: int) -> Answer:
    if register.form == "tally":
        tally = facts.tallies.get(register.key, {})
        counts = {value: counted[0] for value, counted in tally.items()}
        return Answer(_commonest(counts), approximate=len(tally) >= register.keep)
    found = inside(facts.entries(register), trait.within, now_ms)
    approximate = len(found.entries) >= register.keep
    if kind == "unique":
        values: Any = [entry[2] for entry in found.entries[: trait.keep]] or None
    else:
        values = _commonest(Counter(canonical(entry[2]) or "" for entry in found.entries))
    return Answer(values, next_ms=found.next_ms, behind=found.entries, approximate=approximate)


def _commonest(counts: Mapping[str, int]) -> Any:
    """The value that came most often; of several the one whose canonical text is the smallest."""
    return value_of(min(counts, key=lambda value: (-counts[value], value))) if counts else None


def _days_since(register: Register, facts: Facts, now_ms: int) -> Answer:
    entry = next((one for one in facts.entries(register) if one[0] <= now_ms), None)
    if entry is None:
        return Answer(None)
    days = (now_ms - entry[0]) // DAY_MS
    return Answer(days, next_ms=entry[0] + (days + 1) * DAY_MS, behind=[entry])


def _rfm(trait: RfmTrait, register: Register, facts: Facts, now_ms: int) -> Answer:
    found = inside(facts.entries(register), trait.within, now_ms)
    if not found.entries:
        return Answer(None, next_ms=found.next_ms)
    last_ms, times = found.entries[0][0], len(found.entries)
    total = sum(entry[2] for entry in found.entries)
    recency = 5 - sum(now_ms - last_ms >= edge for edge in trait.recency)
    frequency = 1 + sum(times >= edge for edge in trait.frequency)
    monetary = 1 + sum(total >= millionths(edge) for edge in trait.monetary)
    scores = {"recency": recency, "frequency": frequency, "monetary": monetary, "score": f"{recency}{frequency}{monetary}"}
    ages = (last_ms + edge for edge in trait.recency)
    next_ms = min(found.next_ms, *(edge for edge in (*ages, NEVER) if edge > now_ms))
    return Answer(scores, next_ms=next_ms, behind=found.entries, approximate=times >= register.keep)


def _lifecycle(trait: LifecycleTrait, register: Register, facts: Facts, now_ms: int) -> Answer:
    orders = [entry for entry in facts.entries(register) if entry[0] <= now_ms]
    if not orders:
        return Answer("visitor" if KNOWN.isdisjoint(facts.named) else "lead")
    last_ms = orders[0][0]
    age_ms = now_ms - last_ms
    if age_ms >= trait.lost_after:
        stage = "lost"
    elif age_ms >= trait.at_risk_after:
        stage = "at_risk"
    elif len(orders) > 1 and last_ms - orders[1][0] >= trait.lost_after:
        stage = "won_back"
    elif len(orders) == 1:
        stage = "first_time"
    else:
        stage = "loyal" if len(orders) >= trait.loyal_orders else "active"
    edges = (last_ms + trait.at_risk_after, last_ms + trait.lost_after, NEVER)
    return Answer(stage, next_ms=min(edge for edge in edges if edge > now_ms), behind=orders)
