"""The leaf `sequence`: one event, and another one after it, or not.

An example, `{first: {event: Cart Updated, within: 24h}, then_not: {event: Order Completed, within: 30m}}` with a cart
at 10:00: the leaf waits until 10:30, holds from 10:30 on if no order came in (10:00, 10:30], and ends at 10:00 the next
day, when the cart leaves the window.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from domain.fields import DottedPath, Duration, EventName, StrictModel, format_duration
from domain.segments.event_filter import (
    DEFAULT_RETAINED_EVENTS,
    EventFilter,
    PropertyComparisons,
    RetainedEvents,
    event_filter_text,
    event_text,
    horizon_ms,
)
from domain.segments.leaves.leaf import LeafCondition, LeafInputs, NodeEvidence, SqlContext
from domain.segments.phrases import exactness_text
from domain.segments.profile_facts import LeafResult, ProfileFacts
from domain.segments.registers import Entry, Register
from domain.segments.sql.columns import ProfileColumns
from domain.segments.sql.query import all_of
from schemas.instants import NEVER


class SequenceStep(EventFilter):
    """The event that a sequence begins with. `pick` says which one: the last, the first, or any in the window."""

    pick: Literal["last", "first", "any"] = "last"


class FollowUp(StrictModel):
    """The event after it, at most `within` later (if that is given); `same` names properties that both have with one value."""

    event: EventName
    where: PropertyComparisons = ()
    within: Duration | None = None
    same: Annotated[tuple[DottedPath, ...], Field(max_length=5)] = ()


class SequenceLeaf(StrictModel):
    """`first`, and `then` the second event after it, or `then_not`.

    `then_not` with `within` holds from the end of that time on.
    """

    first: SequenceStep
    then: FollowUp | None = None
    then_not: FollowUp | None = None
    keep: RetainedEvents = DEFAULT_RETAINED_EVENTS

    @model_validator(mode="after")
    def _has_one_follow_up(self) -> Self:
        if (self.then is None) is (self.then_not is None):
            raise ValueError("a sequence has either `then` or `then_not`")
        return self

    @cached_property
    def follow_up(self) -> FollowUp:
        """What follows, or must not follow."""
        return self.then or self.then_not or FollowUp(event="-")


class SequenceCondition(LeafCondition):
    sequence: SequenceLeaf

    example: ClassVar = {
        "sequence": {
            "first": {"event": "Cart Updated", "within": "24h"},
            "then_not": {"event": "Order Completed", "within": "30m", "same": ["cart_id"]},
        }
    }
    schema_rules: ClassVar = {"SequenceLeaf": {"oneOf": [{"required": ["then"]}, {"required": ["then_not"]}]}}

    def registers(self) -> tuple[Register, ...]:
        first, follow_up = self.sequence.first, self.sequence.follow_up
        picks_last = first.pick == "last"
        # A place more than `keep`: when it is taken too, entries may have been dropped, and the answer is marked as approximate.
        shared_arguments: dict[str, Any] = {
            "extract": "key", "paths": follow_up.same, "capacity": self.sequence.keep + 1, "horizon_ms": horizon_ms(first.within),
        }  # fmt: skip
        # The last start of each key is one entry. The newest follow-up of each key is enough for it unless follow-ups
        # must come in time: a later one would then hide the one that did.
        follow_up_form: Literal["newest_of_each", "newest"] = (
            "newest_of_each" if picks_last and follow_up.within is None else "newest"
        )
        return (
            Register(first.event, first.where, "newest_of_each" if picks_last else "newest", **shared_arguments),
            Register(follow_up.event, follow_up.where, follow_up_form, **shared_arguments),
        )

    def register_paths(self) -> tuple[str, ...]:
        return ".first", ".then" if self.sequence.then is not None else ".then_not"

    def evaluate(self, inputs: LeafInputs, facts: ProfileFacts, now_ms: int) -> LeafResult:
        leaf, (start_register, follow_register) = self.sequence, inputs.registers
        starts, follows = facts.entries(start_register), facts.entries(follow_register)
        if not starts:
            return LeafResult(0)
        window_start = None if leaf.first.within is None else now_ms - leaf.first.within
        candidates = [entry for entry in starts if entry[0] <= now_ms and (window_start is None or entry[0] > window_start)]
        # Follow-ups need no window of their own: one that is later than a start inside the window is inside it as well.
        past = [entry for entry in follows if entry[0] <= now_ms]
        picked = list(_picked_starts(leaf.first.pick, candidates))
        fitting, waiting = _fitting_and_waiting(leaf, picked, past, now_ms)
        changes = [entry[0] for entry in (*starts, *follows) if entry[0] > now_ms]
        # When the first start leaves the window, the next one takes its place, so every start matters and not only the picked ones.
        # With `last` and `any` none takes its place: all older starts of that key have left the window before it.
        if leaf.first.pick == "first":
            changes += _first_pick_change_instants(leaf, candidates)
        else:
            changes += _change_instants(leaf, fitting, waiting)
        # Only these can follow a start of the window. Older ones fill the register without making the answer doubtful.
        follows_in_window = [entry for entry in past if window_start is None or entry[0] > window_start]
        return LeafResult(
            value=len(fitting),
            holds=bool(fitting),
            next_change_ms=min((change for change in changes if change > now_ms), default=NEVER),
            entries=fitting or picked[:1],
            is_approximate=_is_at_capacity(start_register, candidates) or _is_at_capacity(follow_register, follows_in_window),
        )

    def sql(self, context: SqlContext) -> str:
        columns, leaf = context.columns, self.sequence
        follow_up, within = leaf.follow_up, leaf.first.within
        first, key = _step_sql(columns, leaf.first, follow_up.same, within)
        first = all_of([first, columns.is_in_window(within)])
        if leaf.first.pick == "any":
            starts = columns.profile_column(f"groupArrayIf((at_ms, {key}), {first})")
        else:
            map_function = "maxMapIf" if leaf.first.pick == "last" else "minMapIf"
            start_by_key = columns.profile_column(f"{map_function}(map({key}, at_ms), {first})")
            starts = f"arrayZip(mapValues({start_by_key}), mapKeys({start_by_key}))"
        is_follow_up, key = _step_sql(columns, follow_up, follow_up.same, within)
        follows = columns.profile_column(f"groupArrayIf((at_ms, {key}), {all_of([is_follow_up, columns.is_in_window(within)])})")
        # Strictly later on both sides: at the same millisecond nothing tells which of two events came first.
        in_time = ["f.1 > s.1", "f.2 = s.2"]
        if follow_up.within is not None:
            in_time.append(f"f.1 <= s.1 + {columns.parameters.integer(follow_up.within)}")
        followed = f"arrayExists(f -> {all_of(in_time)}, {follows})"
        if leaf.then_not is None:
            return f"arrayExists(s -> {followed}, {starts})"
        is_elapsed = (
            "true" if follow_up.within is None else f"s.1 <= {columns.parameters.integer(columns.at_ms - follow_up.within)}"
        )
        return f"arrayExists(s -> {all_of([is_elapsed, f'NOT {followed}'])}, {starts})"

    def subject(self) -> str:
        first = self.sequence.first
        return f"{'any' if first.pick == 'any' else f'the {first.pick}'} {event_filter_text(first)}"

    def expectation(self) -> str:
        follow_up = self.sequence.follow_up
        within_text = "" if follow_up.within is None else f" within {format_duration(follow_up.within)}"
        same_text = f", with the same {', '.join(follow_up.same)}" if follow_up.same else ""
        negation = "" if self.sequence.then_not is None else "no "
        return f"then {negation}{event_text(follow_up.event, follow_up.where)}{within_text}{same_text}"

    def exactness_limit(self, register: Register) -> str:
        if register.has_single_key:
            return ""
        return exactness_text(register, self.sequence.first.within, "different values of " + ", ".join(register.paths))

    def evidence(self, result: LeafResult, inputs: LeafInputs, facts: ProfileFacts, now_ms: int) -> Iterator[NodeEvidence]:
        yield from super().evidence(result, inputs, facts, now_ms)
        register, within = inputs.registers[1], self.sequence.follow_up.within
        follow_ups = tuple(
            entry
            for entry in facts.entries(register)
            if entry[0] <= now_ms and any(_is_followed(start, (entry,), within) for start in result.entries)
        )
        if follow_ups:
            yield NodeEvidence(register, follow_ups, len(follow_ups))


def _picked_starts(pick: str, candidates: Sequence[Entry]) -> Iterable[Entry]:
    """Return the starts that count, of each key. `candidates` are newest first."""
    if pick == "any":
        return candidates
    by_key: dict[Any, Entry] = {}
    for entry in candidates:
        # The newest comes first, so the first entry seen of a key is its last start, and the one written last is its first start.
        if pick == "first" or entry[2] not in by_key:
            by_key[entry[2]] = entry
    return by_key.values()


def _fitting_and_waiting(
    leaf: SequenceLeaf, picked: Iterable[Entry], past: Sequence[Entry], now_ms: int
) -> tuple[list[Entry], list[Entry]]:
    """Return the starts that fit, and those for which `then_not` still waits."""
    length = leaf.follow_up.within
    fitting: list[Entry] = []
    waiting: list[Entry] = []
    for entry in picked:
        if _is_followed(entry, past, length):
            if leaf.then is not None:
                fitting.append(entry)
        elif leaf.then is None:
            # From the very millisecond at which the time ends: a follow-up of that millisecond is in time, and `past`
            # already has it.
            (fitting if length is None or now_ms >= entry[0] + length else waiting).append(entry)
    return fitting, waiting


def _is_followed(start: Entry, follows: Iterable[Entry], length: int | None) -> bool:
    """Return whether an entry is strictly later than a start, has the same key, and came in time."""
    at_ms, _, key = start
    return any(entry[0] > at_ms and entry[2] == key and (length is None or entry[0] <= at_ms + length) for entry in follows)


def _change_instants(leaf: SequenceLeaf, fitting: Iterable[Entry], waiting: Iterable[Entry]) -> Iterator[int]:
    """Yield when a start that fits leaves the window, and when one that waits comes to fit, if it is in the window then."""
    within, length = leaf.first.within, leaf.follow_up.within
    if within is not None:
        yield from (entry[0] + within for entry in fitting)
    # A start that waits as long as the window or longer leaves the window before it can fit, so no timer is needed for it.
    if length is not None and (within is None or length < within):
        yield from (entry[0] + length for entry in waiting)


def _first_pick_change_instants(leaf: SequenceLeaf, candidates: Iterable[Entry]) -> Iterator[int]:
    """Yield when each start leaves the window, so that a later one becomes the first, and when its waiting time ends."""
    lengths = (leaf.first.within, leaf.follow_up.within if leaf.then is None else None)
    return (entry[0] + length for entry in candidates for length in lengths if length is not None)


def _is_at_capacity(register: Register, entries: Sequence[Entry]) -> bool:
    return len(entries) >= register.capacity


def _step_sql(columns: ProfileColumns, step: SequenceStep | FollowUp, same: Sequence[str], within: int | None) -> tuple[str, str]:
    """Write (whether an event is such a step, the key that both steps share)."""
    events = columns.matches_event(step.event, step.where, within)
    key_parts = [columns.event_column(f"canonical({columns.property_value(events, path)})") for path in same]
    key = f"toString([{', '.join(key_parts)}])" if key_parts else "''"
    return all_of([events, *(f"{key_part} != ''" for key_part in key_parts)]), key
