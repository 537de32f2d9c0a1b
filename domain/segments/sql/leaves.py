"""Each leaf in SQL, as `evaluate` and `sequences` have it in Python: a condition over the columns of a profile. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from domain.fields import StrictModel
from domain.segments.leaf_models import (
    UNBOUNDED_TIMES,
    AggregateLeaf,
    ConsentLeaf,
    DidLeaf,
    DidNotLeaf,
    EventFilter,
    FollowUp,
    OccurrenceLeaf,
    OrderingOp,
    PercentLeaf,
    RegularlyLeaf,
    SequenceLeaf,
    SequenceStep,
    SubscribedLeaf,
)
from domain.segments.registers import AMOUNT_SCALE, CONSENT_EVENT, to_millionths
from domain.segments.sql.columns import ProfileColumns
from domain.segments.sql.comparisons import at_path, holds
from domain.segments.sql.query import all_of

SQL_OPERATORS: Final[Mapping[OrderingOp, str]] = {"eq": "=", "ne": "!=", "lt": "<", "lte": "<=", "gt": ">", "gte": ">="}


def matches_event(columns: ProfileColumns, events: EventFilter) -> str:
    """Whether an event is one of those meant, in their window."""
    return all_of([columns.matches_event(events.event, events.where, events.within), columns.is_in_window(events.within)])


def did_sql(columns: ProfileColumns, leaf: DidLeaf) -> str:
    """How often in the window."""
    times, (fewest, most) = columns.profile_column(f"countIf({matches_event(columns, leaf)})"), leaf.times_range
    limits = [
        f"{times} >= {columns.parameters.integer(fewest)}",
        f"{times} <= {columns.parameters.integer(most)}" if most < UNBOUNDED_TIMES else "true",
    ]
    return all_of(limits)


def did_not_sql(columns: ProfileColumns, leaf: DidNotLeaf) -> str:
    """Not once in the window."""
    return f"{columns.profile_column(f'countIf({matches_event(columns, leaf)})')} = 0"


def occurrence_sql(columns: ProfileColumns, leaf: OccurrenceLeaf, which: str) -> str:
    """The `first` or `latest_is_positive` of all such events: when it was, and what its properties are."""
    events = columns.matches_event(leaf.event, leaf.where)
    pick_function = "argMinIf" if which == "first" else "argMaxIf"
    conditions_all = [f"{columns.profile_column(f'countIf({events})')} > 0"]
    at_ms = columns.profile_column(f"{'minIf' if which == 'first' else 'maxIf'}(at_ms, {events})")
    if leaf.within is not None:
        conditions_all.append(f"{at_ms} > {columns.parameters.integer(columns.at_ms - leaf.within)}")
    if leaf.not_within is not None:
        conditions_all.append(f"{at_ms} <= {columns.parameters.integer(columns.at_ms - leaf.not_within)}")
    if leaf.having:
        conditions = [
            holds(columns.parameters, comparison, columns.property_value(events, comparison.prop)) for comparison in leaf.having
        ]
        has_properties = columns.event_column(all_of([events, *conditions]))
        conditions_all.append(
            columns.profile_column(f"{pick_function}({has_properties}, (at_ms, {columns.tie_breaker(events)}), {events})")
        )
    return all_of(conditions_all)


def amount_columns(columns: ProfileColumns, events: EventFilter, function: str, prop: str) -> tuple[str, str]:
    """(the sum, smallest or largest in millionths as Int128; how many): columns over the events that have an amount."""
    value = columns.property_value(columns.matches_event(events.event, events.where, events.within), prop)
    has_amount = columns.event_column(f"is_amount({value})")
    amount = columns.event_column(f"if({has_amount}, toInt128(amount_of({value})), 0)")
    condition = all_of([has_amount, columns.is_in_window(events.within)])
    aggregate_function = {"min": "minIf", "max": "maxIf"}.get(function, "sumIf")
    return columns.profile_column(f"{aggregate_function}({amount}, {condition})"), columns.profile_column(f"countIf({condition})")


def aggregate_sql(columns: ProfileColumns, leaf: AggregateLeaf) -> str:
    """A number over the events in the window, compared in millionths; an average without dividing."""
    threshold, sql_operator = columns.parameters.amount(to_millionths(leaf.value)), SQL_OPERATORS[leaf.op]
    if leaf.of == "distinct":
        value = columns.property_value(columns.matches_event(leaf.event, leaf.where, leaf.within), leaf.prop)
        canonical_column = columns.event_column(f"canonical({value})")
        condition = all_of([f"{canonical_column} != ''", columns.is_in_window(leaf.within)])
        number = columns.profile_column(f"uniqExactIf({canonical_column}, {condition})")
        return f"toInt128({number}) * {AMOUNT_SCALE} {sql_operator} {threshold}"
    total, times = amount_columns(columns, leaf, leaf.of, leaf.prop)
    threshold = f"{threshold} * {times}" if leaf.of == "avg" else threshold
    return all_of([f"{times} > 0", f"{total} {sql_operator} {threshold}"])


def _step_sql(columns: ProfileColumns, step: SequenceStep | FollowUp, same: Sequence[str], within: int | None) -> tuple[str, str]:
    """(whether an event is such a step, the key that both steps share)."""
    events = columns.matches_event(step.event, step.where, within)
    key_parts = [columns.event_column(f"canonical({columns.property_value(events, path)})") for path in same]
    key = f"toString([{', '.join(key_parts)}])" if key_parts else "''"
    return all_of([events, *(f"{key_part} != ''" for key_part in key_parts)]), key


def sequence_sql(columns: ProfileColumns, leaf: SequenceLeaf) -> str:
    """Whether one of the picked first events is followed, or was not followed in time."""
    follow_up, within = leaf.follow_up, leaf.first.within
    first, key = _step_sql(columns, leaf.first, follow_up.same, within)
    first = all_of([first, columns.is_in_window(within)])
    if leaf.first.pick == "any":
        starts = columns.profile_column(f"groupArrayIf((at_ms, {key}), {first})")
    else:
        start_by_key = columns.profile_column(
            f"{'maxMapIf' if leaf.first.pick == 'last' else 'minMapIf'}(map({key}, at_ms), {first})"
        )
        starts = f"arrayZip(mapValues({start_by_key}), mapKeys({start_by_key}))"
    is_follow_up, key = _step_sql(columns, follow_up, follow_up.same, within)
    follows = columns.profile_column(f"groupArrayIf((at_ms, {key}), {all_of([is_follow_up, columns.is_in_window(within)])})")
    in_time = ["f.1 > s.1", "f.2 = s.2"]
    if follow_up.within is not None:
        in_time.append(f"f.1 <= s.1 + {columns.parameters.integer(follow_up.within)}")
    followed = f"arrayExists(f -> {all_of(in_time)}, {follows})"
    if leaf.then_not is None:
        return f"arrayExists(s -> {followed}, {starts})"
    is_elapsed = "true" if follow_up.within is None else f"s.1 <= {columns.parameters.integer(columns.at_ms - follow_up.within)}"
    return f"arrayExists(s -> {all_of([is_elapsed, f'NOT {followed}'])}, {starts})"


def regularly_sql(columns: ProfileColumns, leaf: RegularlyLeaf) -> str:
    """In how many of the last periods, this one included."""
    every, offset = leaf.every, leaf.offset_ms
    oldest = (columns.at_ms + offset) // every - leaf.of + 1
    start = oldest * every - offset
    events = columns.matches_event(leaf.event, leaf.where, columns.at_ms - start + 1)
    # Counted from the start of the oldest period, so that nothing is negative.
    first, length = columns.parameters.integer(start), columns.parameters.integer(every)
    periods = columns.profile_column(f"uniqExactIf(intDiv(at_ms - {first}, {length}), {events} AND at_ms >= {first})")
    return f"{periods} >= {columns.parameters.integer(leaf.at_least)}"


def percent_sql(columns: ProfileColumns, leaf: PercentLeaf) -> str:
    """The bucket of 10,000 that a profile falls into."""
    digest = f"SHA256(concat({columns.parameters.text(leaf.salt + ':')}, profile_id))"
    return f"reinterpretAsUInt32(reverse(substring({digest}, 1, 4))) % 10000 < {columns.parameters.integer(leaf.buckets)}"


def _latest_status_sql(
    columns: ProfileColumns, has_status: str, is_positive: str, status_words: tuple[str, str], expected_status: str
) -> str:
    """What was said last; of one instant that which takes back."""
    if expected_status == "unknown":
        return f"{columns.profile_column(f'countIf({has_status})')} = 0"
    latest_is_positive = columns.profile_column(f"argMaxIf({is_positive}, (at_ms, NOT {is_positive}), {has_status})")
    return all_of(
        [
            f"{columns.profile_column(f'countIf({has_status})')} > 0",
            latest_is_positive if expected_status == status_words[0] else f"NOT {latest_is_positive}",
        ]
    )


def consent_sql(columns: ProfileColumns, leaf: ConsentLeaf) -> str:
    """What was last said of a purpose."""
    event = columns.has_label(CONSENT_EVENT)
    preferences = columns.event_column(f"if({event}, {at_path(columns.parameters, 'context', 'consent.categoryPreferences')}, '')")
    value = columns.event_column(f"JSONExtractRaw({preferences}, {columns.parameters.text(leaf.purpose)})")
    has_status, is_positive = columns.event_column(f"{value} IN ('true', 'false')"), columns.event_column(f"{value} = 'true'")
    return _latest_status_sql(columns, has_status, is_positive, ("granted", "denied"), leaf.status)


def subscribed_sql(columns: ProfileColumns, leaf: SubscribedLeaf) -> str:
    """What was last said of messages by a channel."""
    event, channel = columns.has_label("$identify"), columns.parameters.text(leaf.channel.lower())
    items = f"if({event}, JSONExtractArrayRaw(context, 'messaging_subscriptions'), [])"
    is_relevant = (
        f"JSONType(item, 'type') = 'String' AND lowerUTF8(JSONExtractString(item, 'type')) = {channel} "
        "AND JSONExtractString(item, 'status') IN ('SUBSCRIBED', 'UNSUBSCRIBED', 'DID_NOT_SUBSCRIBE')"
    )
    statuses = columns.event_column(
        f"arrayMap(item -> JSONExtractString(item, 'status'), arrayFilter(item -> {is_relevant}, {items}))"
    )
    has_status, is_positive = (
        columns.event_column(f"notEmpty({statuses})"),
        columns.event_column(f"arrayAll(status -> status = 'SUBSCRIBED', {statuses})"),
    )
    return _latest_status_sql(columns, has_status, is_positive, ("subscribed", "unsubscribed"), leaf.status)


EVENT_LEAF_SQL: Final[Mapping[type[StrictModel], Any]] = {
    DidLeaf: did_sql,
    DidNotLeaf: did_not_sql,
    AggregateLeaf: aggregate_sql,
    RegularlyLeaf: regularly_sql,
    PercentLeaf: percent_sql,
    ConsentLeaf: consent_sql,
    SubscribedLeaf: subscribed_sql,
}
