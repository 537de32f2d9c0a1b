"""Each leaf in SQL, as `evaluate` and `sequences` have it in Python: a condition over the columns of a profile. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from domain.fields import Strict
from domain.segments.leaf_models import (NO_END, AggregateLeaf, ConsentLeaf, DidLeaf, DidNotLeaf, Events, FollowUp, OccurrenceLeaf, Ordering, PercentLeaf, RegularlyLeaf, SequenceLeaf, Step, SubscribedLeaf)
from domain.segments.registers import AMOUNT, CONSENT_EVENT, millionths
from domain.segments.sql.query import all_of
from domain.segments.sql.columns import Rows
from domain.segments.sql.comparisons import at_path, holds

OPERATORS: Final[Mapping[Ordering, str]] = {"eq": "=", "ne": "!=", "lt": "<", "lte": "<=", "gt": ">", "gte": ">="}


def chosen(rows: Rows, events: Events) -> str:
    """Whether an event is one of those meant, in their window."""
    return all_of([rows.matching(events.event, events.where, events.within), rows.after(events.within)])


def did(rows: Rows, leaf: DidLeaf) -> str:
    """How often in the window."""
    times, (fewest, most) = rows.profile(f"countIf({chosen(rows, leaf)})"), leaf.range
    ends = [f"{times} >= {rows.parameters.whole(fewest)}", f"{times} <= {rows.parameters.whole(most)}" if most < NO_END else "true"]
    return all_of(ends)


def did_not(rows: Rows, leaf: DidNotLeaf) -> str:
    """Not once in the window."""
    return f"{rows.profile(f'countIf({chosen(rows, leaf)})')} = 0"


def occurrence(rows: Rows, leaf: OccurrenceLeaf, which: str) -> str:
    """The `first` or `last` of all such events: when it was, and what its properties are."""
    events = rows.matching(leaf.event, leaf.where)
    best = "argMinIf" if which == "first" else "argMaxIf"
    asked = [f"{rows.profile(f'countIf({events})')} > 0"]
    at_ms = rows.profile(f"{'minIf' if which == 'first' else 'maxIf'}(at_ms, {events})")
    if leaf.within is not None:
        asked.append(f"{at_ms} > {rows.parameters.whole(rows.at_ms - leaf.within)}")
    if leaf.not_within is not None:
        asked.append(f"{at_ms} <= {rows.parameters.whole(rows.at_ms - leaf.not_within)}")
    if leaf.having:
        conditions = [holds(rows.parameters, one, rows.property_value(events, one.prop)) for one in leaf.having]
        fits = rows.event(all_of([events, *conditions]))
        asked.append(rows.profile(f"{best}({fits}, (at_ms, {rows.tie(events)}), {events})"))
    return all_of(asked)


def amounts(rows: Rows, events: Events, of: str, prop: str) -> tuple[str, str]:
    """(the sum, smallest or largest in millionths as Int128; how many): columns over the events that have an amount."""
    value = rows.property_value(rows.matching(events.event, events.where, events.within), prop)
    counted = rows.event(f"is_amount({value})")
    amount = rows.event(f"if({counted}, toInt128(amount_of({value})), 0)")
    condition = all_of([counted, rows.after(events.within)])
    function = {"min": "minIf", "max": "maxIf"}.get(of, "sumIf")
    return rows.profile(f"{function}({amount}, {condition})"), rows.profile(f"countIf({condition})")


def aggregate(rows: Rows, leaf: AggregateLeaf) -> str:
    """A number over the events in the window, compared in millionths; an average without dividing."""
    right, operator = rows.parameters.amount(millionths(leaf.value)), OPERATORS[leaf.op]
    if leaf.of == "distinct":
        value = rows.property_value(rows.matching(leaf.event, leaf.where, leaf.within), leaf.prop)
        name = rows.event(f"canonical({value})")
        condition = all_of([f"{name} != ''", rows.after(leaf.within)])
        number = rows.profile(f"uniqExactIf({name}, {condition})")
        return f"toInt128({number}) * {AMOUNT} {operator} {right}"
    total, times = amounts(rows, leaf, leaf.of, leaf.prop)
    right = f"{right} * {times}" if leaf.of == "avg" else right
    return all_of([f"{times} > 0", f"{total} {operator} {right}"])


def _steps(rows: Rows, step: Step | FollowUp, same: Sequence[str], within: int | None) -> tuple[str, str]:
    """(whether an event is such a step, the key that both steps share)."""
    events = rows.matching(step.event, step.where, within)
    parts = [rows.event(f"canonical({rows.property_value(events, path)})") for path in same]
    key = f"toString([{', '.join(parts)}])" if parts else "''"
    return all_of([events, *(f"{part} != ''" for part in parts)]), key


def sequence(rows: Rows, leaf: SequenceLeaf) -> str:
    """Whether one of the picked first events is followed, or was not followed in time."""
    second, within = leaf.second, leaf.first.within
    first, key = _steps(rows, leaf.first, second.same, within)
    first = all_of([first, rows.after(within)])
    if leaf.first.pick == "any":
        starts = rows.profile(f"groupArrayIf((at_ms, {key}), {first})")
    else:
        newest = rows.profile(f"{'maxMapIf' if leaf.first.pick == 'last' else 'minMapIf'}(map({key}, at_ms), {first})")
        starts = f"arrayZip(mapValues({newest}), mapKeys({newest}))"
    follow, key = _steps(rows, second, second.same, within)
    follows = rows.profile(f"groupArrayIf((at_ms, {key}), {all_of([follow, rows.after(within)])})")
    in_time = ["f.1 > s.1", "f.2 = s.2"]
    if second.within is not None:
        in_time.append(f"f.1 <= s.1 + {rows.parameters.whole(second.within)}")
    followed = f"arrayExists(f -> {all_of(in_time)}, {follows})"
    if leaf.then_not is None:
        return f"arrayExists(s -> {followed}, {starts})"
    over = "true" if second.within is None else f"s.1 <= {rows.parameters.whole(rows.at_ms - second.within)}"
    return f"arrayExists(s -> {all_of([over, f'NOT {followed}'])}, {starts})"


def regularly(rows: Rows, leaf: RegularlyLeaf) -> str:
    """In how many of the last periods, this one included."""
    every, offset = leaf.every, leaf.offset_ms
    oldest = (rows.at_ms + offset) // every - leaf.of + 1
    start = oldest * every - offset
    events = rows.matching(leaf.event, leaf.where, rows.at_ms - start + 1)
    # Counted from the start of the oldest period, so that nothing is negative.
    first, length = rows.parameters.whole(start), rows.parameters.whole(every)
    periods = rows.profile(f"uniqExactIf(intDiv(at_ms - {first}, {length}), {events} AND at_ms >= {first})")
    return f"{periods} >= {rows.parameters.whole(leaf.at_least)}"


def percent(rows: Rows, leaf: PercentLeaf) -> str:
    """The bucket of 10,000 that a profile falls into."""
    digest = f"SHA256(concat({rows.parameters.text(leaf.salt + ':')}, profile_id))"
    return f"reinterpretAsUInt32(reverse(substring({digest}, 1, 4))) % 10000 < {rows.parameters.whole(leaf.buckets)}"


def _status(rows: Rows, said: str, yes: str, words: tuple[str, str], wanted: str) -> str:
    """What was said last; of one instant that which takes back."""
    if wanted == "unknown":
        return f"{rows.profile(f'countIf({said})')} = 0"
    last = rows.profile(f"argMaxIf({yes}, (at_ms, NOT {yes}), {said})")
    return all_of([f"{rows.profile(f'countIf({said})')} > 0", last if wanted == words[0] else f"NOT {last}"])


def consent(rows: Rows, leaf: ConsentLeaf) -> str:
    """What was last said of a purpose."""
    event = rows.named(CONSENT_EVENT)
    preferences = rows.event(f"if({event}, {at_path(rows.parameters, 'context', 'consent.categoryPreferences')}, '')")
    value = rows.event(f"JSONExtractRaw({preferences}, {rows.parameters.text(leaf.purpose)})")
    said, yes = rows.event(f"{value} IN ('true', 'false')"), rows.event(f"{value} = 'true'")
    return _status(rows, said, yes, ("granted", "denied"), leaf.status)


def subscribed(rows: Rows, leaf: SubscribedLeaf) -> str:
    """What was last said of messages by a channel."""
    event, channel = rows.named("$identify"), rows.parameters.text(leaf.channel.lower())
    items = f"if({event}, JSONExtractArrayRaw(context, 'messaging_subscriptions'), [])"
    meant = (
        f"JSONType(item, 'type') = 'String' AND lowerUTF8(JSONExtractString(item, 'type')) = {channel} "
        "AND JSONExtractString(item, 'status') IN ('SUBSCRIBED', 'UNSUBSCRIBED', 'DID_NOT_SUBSCRIBE')"
    )
    found = rows.event(f"arrayMap(item -> JSONExtractString(item, 'status'), arrayFilter(item -> {meant}, {items}))")
    said, yes = rows.event(f"notEmpty({found})"), rows.event(f"arrayAll(status -> status = 'SUBSCRIBED', {found})")
    return _status(rows, said, yes, ("subscribed", "unsubscribed"), leaf.status)


EVENT_LEAVES: Final[Mapping[type[Strict], Any]] = {
    DidLeaf: did,
    DidNotLeaf: did_not,
    AggregateLeaf: aggregate,
    RegularlyLeaf: regularly,
    PercentLeaf: percent,
    ConsentLeaf: consent,
    SubscribedLeaf: subscribed,
}
