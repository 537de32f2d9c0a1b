"""Evaluate computed traits for a profile's facts at an instant. Pure. `sql/computed_traits.py` writes the same for ClickHouse."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from domain.segments.amounts import aggregate_amounts
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
from domain.segments.profile_facts import LeafResult, ProfileFacts
from domain.segments.registers import (
    AMOUNT_SCALE,
    Register,
    amount_to_number,
    canonical_sort_key,
    canonical_text,
    parse_canonical,
    to_millionths,
)
from domain.segments.value_counts import counts_of, is_sketch
from domain.segments.windows import entries_in_window
from schemas.instants import DAY_MS, NEVER

LEAD_NAMESPACES: Final = frozenset({"user_id", "crm_id", "email", "phone"})
"""Namespaces that turn a visitor into a lead: each of them lets the shop reach the person again."""


def evaluate_computed_trait(spec: ComputedTraitSpec, registers: Sequence[Register], facts: ProfileFacts, now_ms: int) -> LeafResult:
    """Return the value (None when there is none) and the next instant at which time alone changes it."""
    computation, register = getattr(spec, spec.kind), registers[0]
    match computation:
        case CountTrait():
            return _count(computation, register, facts, now_ms)
        case AmountTrait():
            return _amount(computation, spec.kind, register, facts, now_ms)
        case OccurrenceTrait():
            entry = next((candidate for candidate in facts.entries(register) if candidate[0] <= now_ms), None)
            return LeafResult(None) if entry is None else LeafResult(entry[2], entries=[entry])
        case ValuesTrait():
            return _values(computation, spec.kind, register, facts, now_ms)
        case DaysSinceTrait():
            return _days_since(register, facts, now_ms)
        case RfmTrait():
            return _rfm(computation, register, facts, now_ms)
        case LifecycleTrait():
            return _lifecycle(computation, register, facts, now_ms)
    raise TypeError(f"{spec.kind} is not computed")


def _count(trait: CountTrait, register: Register, facts: ProfileFacts, now_ms: int) -> LeafResult:
    if trait.within is None:
        tally_count = facts.tallies.get(register.key, {}).get("")
        return LeafResult(0 if tally_count is None else tally_count[0])
    in_window = entries_in_window(facts.entries(register), trait.within, now_ms)
    times = len(in_window.entries)
    return LeafResult(
        times, next_change_ms=in_window.next_change_ms, entries=in_window.entries, is_approximate=times >= register.capacity
    )


def _amount(trait: AmountTrait, kind: str, register: Register, facts: ProfileFacts, now_ms: int) -> LeafResult:
    total, times, next_ms, entries = aggregate_amounts(kind, trait.within, register, facts, now_ms)
    if times == 0:
        return LeafResult(None, next_change_ms=next_ms)
    value = total / AMOUNT_SCALE / times if kind == "avg" else amount_to_number(total)
    return LeafResult(
        value, next_change_ms=next_ms, entries=entries, is_approximate=register.form == "newest" and times >= register.capacity
    )


def _values(trait: ValuesTrait, kind: str, register: Register, facts: ProfileFacts, now_ms: int) -> LeafResult:
    if register.form == "tally":
        tally = facts.tallies.get(register.key, {})
        return LeafResult(_most_frequent(counts_of(tally)), is_approximate=is_sketch(tally))
    in_window = entries_in_window(facts.entries(register), trait.within, now_ms)
    approximate = len(in_window.entries) >= register.capacity
    if kind == "unique":
        values: Any = [entry[2] for entry in in_window.entries[: trait.keep]] or None
    else:
        values = _most_frequent(Counter(canonical_text(entry[2]) or "" for entry in in_window.entries))
    return LeafResult(values, next_change_ms=in_window.next_change_ms, entries=in_window.entries, is_approximate=approximate)


def _most_frequent(counts: Mapping[str, int]) -> Any:
    """Return the most frequent value; of equally frequent ones the one that sorts first, in any order of events."""
    return parse_canonical(min(counts, key=lambda value: (-counts[value], canonical_sort_key(value)))) if counts else None


def _days_since(register: Register, facts: ProfileFacts, now_ms: int) -> LeafResult:
    entry = next((candidate for candidate in facts.entries(register) if candidate[0] <= now_ms), None)
    if entry is None:
        return LeafResult(None)
    days = (now_ms - entry[0]) // DAY_MS
    return LeafResult(days, next_change_ms=entry[0] + (days + 1) * DAY_MS, entries=[entry])


def _rfm(trait: RfmTrait, register: Register, facts: ProfileFacts, now_ms: int) -> LeafResult:
    in_window = entries_in_window(facts.entries(register), trait.within, now_ms)
    if not in_window.entries:
        return LeafResult(None, next_change_ms=in_window.next_change_ms)
    last_ms, times = in_window.entries[0][0], len(in_window.entries)
    total = sum(entry[2] for entry in in_window.entries)
    recency = 5 - sum(now_ms - last_ms >= edge for edge in trait.recency)
    frequency = 1 + sum(times >= edge for edge in trait.frequency)
    monetary = 1 + sum(total >= to_millionths(edge) for edge in trait.monetary)
    scores = {"recency": recency, "frequency": frequency, "monetary": monetary, "score": f"{recency}{frequency}{monetary}"}
    ages = (last_ms + edge for edge in trait.recency)
    next_ms = min(in_window.next_change_ms, *(edge for edge in (*ages, NEVER) if edge > now_ms))
    return LeafResult(scores, next_change_ms=next_ms, entries=in_window.entries, is_approximate=times >= register.capacity)


def _lifecycle(trait: LifecycleTrait, register: Register, facts: ProfileFacts, now_ms: int) -> LeafResult:
    orders = [entry for entry in facts.entries(register) if entry[0] <= now_ms]
    if not orders:
        return LeafResult("visitor" if LEAD_NAMESPACES.isdisjoint(facts.namespaces) else "lead")
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
    return LeafResult(stage, next_change_ms=min(edge for edge in edges if edge > now_ms), entries=orders)
