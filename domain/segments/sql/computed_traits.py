"""Computed traits in SQL, as `evaluate_computed` has them in Python: expressions of JSON text, '' without a value. Pure."""

import math
from collections.abc import Sequence

from domain.segments.amounts import amount_columns
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
from domain.segments.evaluate_computed import LEAD_NAMESPACES
from domain.segments.event_filter import event_sql
from domain.segments.registers import to_millionths
from domain.segments.sql.columns import ProfileColumns
from domain.segments.sql.query import all_of, any_of
from schemas.instants import DAY_MS


def computed_trait_sql(columns: ProfileColumns, spec: ComputedTraitSpec) -> str:
    """Return the expression of a computed trait's value."""
    computation = getattr(spec, spec.kind)
    match computation:
        case CountTrait():
            return f"toString({columns.profile_column(f'countIf({event_sql(columns, computation)})')})"
        case AmountTrait():
            return _amount_sql(columns, computation, spec.kind)
        case OccurrenceTrait():
            return _occurrence_sql(columns, computation, spec.kind)
        case ValuesTrait():
            return _unique_sql(columns, computation) if spec.kind == "unique" else _most_frequent_sql(columns, computation)
        case DaysSinceTrait():
            return _days_since_sql(columns, computation)
        case RfmTrait():
            return _rfm_sql(columns, computation)
        case LifecycleTrait():
            return _lifecycle_sql(columns, computation)
    raise TypeError(f"{spec.kind} is not computed")


def _amount_sql(columns: ProfileColumns, trait: AmountTrait, kind: str) -> str:
    total, times = amount_columns(columns, trait, kind, trait.prop)
    text = f"amount_text({total})"
    return f"if({times} = 0, '', {f'toString(JSONExtractFloat({text}) / {times})' if kind == 'avg' else text})"


def _occurrence_sql(columns: ProfileColumns, trait: OccurrenceTrait, kind: str) -> str:
    """Return the value of the first or last event that has one."""
    value = columns.property_value(columns.matches_event(trait.event, trait.where), trait.prop)
    canonical_column = columns.event_column(f"storable({value})")
    has_value = columns.event_column(f"{canonical_column} != ''")
    canonical_value = columns.profile_column(
        f"{'argMinIf' if kind == 'first' else 'argMaxIf'}"
        f"({canonical_column}, (at_ms, {columns.tie_breaker(has_value)}), {has_value})"
    )
    return f"value_of({canonical_value})"


def _canonical_values(columns: ProfileColumns, trait: ValuesTrait) -> tuple[str, str]:
    """Return (the column of a value's canonical text, the condition that it counts)."""
    value = columns.property_value(columns.matches_event(trait.event, trait.where, trait.within), trait.prop)
    canonical_column = columns.event_column(f"storable({value})")
    return canonical_column, all_of([f"{canonical_column} != ''", columns.is_in_window(trait.within)])


def _unique_sql(columns: ProfileColumns, trait: ValuesTrait) -> str:
    """Return all different values, the latest first."""
    canonical_column, condition = _canonical_values(columns, trait)
    occurrences = columns.profile_column(
        f"arrayReverseSort(groupArrayIf((at_ms, hash_of({canonical_column}), {canonical_column}), {condition}))"
    )
    distinct_values = f"arrayFilter((one, n) -> n = 1, {occurrences}.3, arrayEnumerateUniq({occurrences}.3))"
    newest = f"arraySlice({distinct_values}, 1, {columns.parameters.integer(trait.keep)})"
    value_list = f"arrayStringConcat(arrayMap(name -> value_of(name), {newest}), ',')"
    return f"if(empty({occurrences}), '', concat('[', {value_list}, ']'))"


def _most_frequent_sql(columns: ProfileColumns, trait: ValuesTrait) -> str:
    """Return the most frequent value; of several equally frequent ones the one that `canonical_sort_key` puts first."""
    canonical_column, condition = _canonical_values(columns, trait)
    counts = columns.profile_column(f"sumMapIf(map({canonical_column}, toInt64(1)), {condition})")
    order = "(-times, substring(name, 1, 1), if(startsWith(name, 'n'), number_of(substring(name, 2)), 0), name)"
    best = f"arraySort((name, times) -> {order}, mapKeys({counts}), mapValues({counts}))[1]"
    return f"if(empty({counts}), '', value_of({best}))"


def _days_since_sql(columns: ProfileColumns, trait: DaysSinceTrait) -> str:
    events = columns.matches_event(trait.event, trait.where)
    at_ms = columns.profile_column(f"{'minIf' if trait.which == 'first' else 'maxIf'}(at_ms, {events})")
    days = f"toString(intDiv({columns.parameters.integer(columns.at_ms)} - {at_ms}, {DAY_MS}))"
    return f"if({columns.profile_column(f'countIf({events})')} = 0, '', {days})"


def _rfm_sql(columns: ProfileColumns, trait: RfmTrait) -> str:
    """Return the three scores, and all of them in one text. An order without an amount counts as one of 0."""
    events = columns.matches_event(trait.event, trait.where, trait.within)
    condition = all_of([events, columns.is_in_window(trait.within)])
    value = columns.property_value(events, trait.prop)
    amount = columns.event_column(f"if(is_amount({value}), toInt128(amount_of({value})), 0)")
    times = columns.profile_column(f"countIf({condition})")
    latest_ms = columns.profile_column(f"maxIf(at_ms, {condition})")
    total = columns.profile_column(f"sumIf({amount}, {condition})")
    age = f"{columns.parameters.integer(columns.at_ms)} - {latest_ms}"
    recency = f"toString(5 - {_edges_reached(age, [columns.parameters.integer(edge) for edge in trait.recency])})"
    frequency = f"toString(1 + {_edges_reached(times, [columns.parameters.amount(math.ceil(edge)) for edge in trait.frequency])})"
    monetary = f"toString(1 + {_edges_reached(total, [columns.parameters.amount(to_millionths(edge)) for edge in trait.monetary])})"
    parts = ["'{\"recency\":'", recency, "',\"frequency\":'", frequency, "',\"monetary\":'", monetary]
    scores = f"""concat({", ".join(parts)}, ',"score":"', {recency}, {frequency}, {monetary}, '"}}')"""
    return f"if({times} = 0, '', {scores})"


def _edges_reached(number: str, edges: Sequence[str]) -> str:
    """Return how many of the edges a number has reached."""
    return f"({' + '.join(f'({number} >= {edge})' for edge in edges)})"


def _lifecycle_sql(columns: ProfileColumns, trait: LifecycleTrait) -> str:
    """Return the stage, by the last two orders and how many there are."""
    # A visitor is a profile without any order, so the orders alone do not tell who has a stage.
    columns.includes_all_profiles = True
    integer = columns.parameters.integer
    orders = columns.profile_column(f"arrayReverseSort(groupArrayIf(at_ms, {columns.matches_event(trait.event, trait.where)}))")
    is_lead = any_of(f"has(identifiers.namespace, '{name}')" for name in sorted(LEAD_NAMESPACES))
    lead = f"if({columns.profile_column(f'countIf({is_lead})')} > 0, 'lead', 'visitor')"
    age = f"{integer(columns.at_ms)} - {orders}[1]"
    stage = f"""multiIf(
        empty({orders}), {lead},
        {age} >= {integer(trait.lost_after)}, 'lost',
        {age} >= {integer(trait.at_risk_after)}, 'at_risk',
        length({orders}) > 1 AND {orders}[1] - {orders}[2] >= {integer(trait.lost_after)}, 'won_back',
        length({orders}) = 1, 'first_time',
        length({orders}) >= {integer(trait.loyal_orders)}, 'loyal', 'active')"""
    return f"toJSONString({stage})"
