"""Computed traits in SQL, as `compute` has them in Python: an expression of JSON text, '' where there is no value. Pure."""

import math
from collections.abc import Sequence

from domain.segments.evaluate_computed import KNOWN
from domain.segments.computed_traits import (AmountTrait, ComputedTraitSpec, CountTrait, DaysSinceTrait, LifecycleTrait, OccurrenceTrait, RfmTrait, ValuesTrait)
from domain.segments.comparisons import DAY_MS
from domain.segments.registers import millionths
from domain.segments.sql.leaves import amounts, chosen
from domain.segments.sql.query import all_of, any_of
from domain.segments.sql.columns import Rows


def computed(rows: Rows, spec: ComputedTraitSpec) -> str:
    """The value of a computed trait."""
    inner = getattr(spec, spec.kind)
    match inner:
        case CountTrait():
            return f"toString({rows.profile(f'countIf({chosen(rows, inner)})')})"
        case AmountTrait():
            return _amount(rows, inner, spec.kind)
        case OccurrenceTrait():
            return _occurrence(rows, inner, spec.kind)
        case ValuesTrait():
            return _unique(rows, inner) if spec.kind == "unique" else _most_frequent(rows, inner)
        case DaysSinceTrait():
            return _days_since(rows, inner)
        case RfmTrait():
            return _rfm(rows, inner)
        case LifecycleTrait():
            return _lifecycle(rows, inner)
    raise TypeError(f"{spec.kind} is not computed")


def _amount(rows: Rows, trait: AmountTrait, kind: str) -> str:
    total, times = amounts(rows, trait, kind, trait.prop)
    text = f"amount_text({total})"
    return f"if({times} = 0, '', {f'toString(JSONExtractFloat({text}) / {times})' if kind == 'avg' else text})"


def _occurrence(rows: Rows, trait: OccurrenceTrait, kind: str) -> str:
    """Of the events that have a value."""
    value = rows.property_value(rows.matching(trait.event, trait.where), trait.prop)
    name = rows.event(f"canonical({value})")
    held = rows.event(f"{name} != ''")
    found = rows.profile(f"{'argMinIf' if kind == 'first' else 'argMaxIf'}({name}, (at_ms, {rows.tie(held)}), {held})")
    return f"value_of({found})"


def _named_values(rows: Rows, trait: ValuesTrait) -> tuple[str, str]:
    """(a value's canonical text, whether it counts)."""
    value = rows.property_value(rows.matching(trait.event, trait.where, trait.within), trait.prop)
    name = rows.event(f"canonical({value})")
    return name, all_of([f"{name} != ''", rows.after(trait.within)])


def _unique(rows: Rows, trait: ValuesTrait) -> str:
    """All different values, the latest first."""
    name, condition = _named_values(rows, trait)
    said = rows.profile(f"arrayReverseSort(groupArrayIf((at_ms, hash_of({name}), {name}), {condition}))")
    once = f"arrayFilter((one, n) -> n = 1, {said}.3, arrayEnumerateUniq({said}.3))"
    newest = f"arraySlice({once}, 1, {rows.parameters.whole(trait.keep)})"
    listed = f"arrayStringConcat(arrayMap(name -> value_of(name), {newest}), ',')"
    return f"if(empty({said}), '', concat('[', {listed}, ']'))"


def _most_frequent(rows: Rows, trait: ValuesTrait) -> str:
    """The value that came most often; of several the one whose canonical text is the smallest."""
    name, condition = _named_values(rows, trait)
    counts = rows.profile(f"sumMapIf(map({name}, toInt64(1)), {condition})")
    best = f"arraySort(arrayZip(arrayMap(n -> -n, mapValues({counts})), mapKeys({counts})))[1].2"
    return f"if(empty({counts}), '', value_of({best}))"


def _days_since(rows: Rows, trait: DaysSinceTrait) -> str:
    """Whole days."""
    events = rows.matching(trait.event, trait.where)
    at_ms = rows.profile(f"{'minIf' if trait.which == 'first' else 'maxIf'}(at_ms, {events})")
    days = f"toString(intDiv({rows.parameters.whole(rows.at_ms)} - {at_ms}, {DAY_MS}))"
    return f"if({rows.profile(f'countIf({events})')} = 0, '', {days})"


def _rfm(rows: Rows, trait: RfmTrait) -> str:
    """The three scores, and all of them in one text. An order without an amount counts as one of 0."""
    events = rows.matching(trait.event, trait.where, trait.within)
    condition = all_of([events, rows.after(trait.within)])
    value = rows.property_value(events, trait.prop)
    amount = rows.event(f"if(is_amount({value}), toInt128(amount_of({value})), 0)")
    times = rows.profile(f"countIf({condition})")
    last = rows.profile(f"maxIf(at_ms, {condition})")
    total = rows.profile(f"sumIf({amount}, {condition})")
    age = f"{rows.parameters.whole(rows.at_ms)} - {last}"
    recency = f"toString(5 - {_reached(age, [rows.parameters.whole(edge) for edge in trait.recency])})"
    frequency = f"toString(1 + {_reached(times, [rows.parameters.amount(math.ceil(edge)) for edge in trait.frequency])})"
    monetary = f"toString(1 + {_reached(total, [rows.parameters.amount(millionths(edge)) for edge in trait.monetary])})"
    parts = ["'{\"recency\":'", recency, "',\"frequency\":'", frequency, "',\"monetary\":'", monetary]
    scores = f"""concat({", ".join(parts)}, ',"score":"', {recency}, {frequency}, {monetary}, '"}}')"""
    return f"if({times} = 0, '', {scores})"


def _reached(number: str, edges: Sequence[str]) -> str:
    """How many of the edges a number has reached."""
    return f"({' + '.join(f'({number} >= {edge})' for edge in edges)})"


def _lifecycle(rows: Rows, trait: LifecycleTrait) -> str:
    """The stage, by the last two orders and how many there are."""
    rows.everybody = True
    whole = rows.parameters.whole
    orders = rows.profile(f"arrayReverseSort(groupArrayIf(at_ms, {rows.matching(trait.event, trait.where)}))")
    known = any_of(f"has(identifiers.namespace, '{name}')" for name in sorted(KNOWN))
    lead = f"if({rows.profile(f'countIf({known})')} > 0, 'lead', 'visitor')"
    age = f"{whole(rows.at_ms)} - {orders}[1]"
    stage = f"""multiIf(
        empty({orders}), {lead},
        {age} >= {whole(trait.lost_after)}, 'lost',
        {age} >= {whole(trait.at_risk_after)}, 'at_risk',
        length({orders}) > 1 AND {orders}[1] - {orders}[2] >= {whole(trait.lost_after)}, 'won_back',
        length({orders}) = 1, 'first_time',
        length({orders}) >= {whole(trait.loyal_orders)}, 'loyal', 'active')"""
    return f"toJSONString({stage})"
