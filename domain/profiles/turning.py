"""What turned a segment, among all that happened between two evaluations of a profile: an event, or time. Pure.

**Why.** A worker evaluates a profile after several events at once, and later than they happened: its timer may have been due an
hour ago, when none of them had come. A transition must still name the event that made it, or the instant at which time did.

**Invariant.** The evaluation is the same as ever; this module only explains it. Going back from now, it looks at the profile
without the latest event, without the latest two, and so on, each time as of the instant when the next event was received. The
first difference from the present membership is what turned it: the event that was taken back, or, between two events, the
instant at which time alone changes the membership. So nothing is dated before the event that it needs, and a timer is the cause
only of what had turned by the facts of its instant.

**Example.** Segment `open` is "called within an hour, and no order". A call at 9:00 sets the timer for 10:00. The worker is away;
a call at 9:30 and an order at 10:05 arrive, and at 11:00 the timer's touch is the first to be evaluated: the customer is no member
any more. Without the order, at 10:05, the customer is a member (by the call at 9:30). So the order made the exit, not the timer.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from domain.profiles.event_changes import HASHED_FORMS, FragmentHistory
from domain.profiles.fragment import Fragment
from domain.segments.plan import SegmentPlan
from domain.segments.profile_facts import ProfileFacts
from domain.segments.registers import Entry
from domain.segments.tree import MembershipResult
from schemas.hashes import message_hash
from schemas.records import TouchEvent

MAX_TIME_CHANGES: Final = 200
"""How many instants between two events are looked at; a window with more entries than that may name a later one."""
MAX_CANDIDATES: Final = 100
"""How many of the latest events are taken back."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An event that may have turned a segment: the node that owns it, and its change. `segments` are those that it can turn.

    `entries` are what it is known to have added to registers, by their keys. `is_touched` is False while its touch is still to
    come.
    """

    node: str
    event: TouchEvent
    segments: frozenset[str]
    entries: Sequence[tuple[str, Entry]] = ()
    is_touched: bool = True


@dataclass(frozen=True, slots=True)
class Turn:
    """What turned a segment: the event with this id, or time at this instant (then `event_id` is empty)."""

    event_id: str = ""
    at_ms: int = 0


def candidates_of(
    plan: SegmentPlan,
    touch_events: Sequence[tuple[str, TouchEvent]],
    fragments: Mapping[str, Fragment],
    since_ms: int,
) -> list[Candidate]:
    """Return the events that may have turned a segment, in the order in which they were received.

    `touch_events` are those that the touches name, with their owners, in the order in which they were applied. The others are
    events that the fragments have applied and whose touch is still to come; they were received after `since_ms`, when the profile
    was evaluated last.
    """
    touched = {(node, event.id) for node, event in touch_events}
    untouched = sorted(
        (received_ms, time_ms, node, event_id, label)
        for node, fragment in fragments.items()
        for time_ms, received_ms, event_id, label in fragment.recent
        if received_ms > since_ms and (node, event_id) not in touched
    )
    candidates: list[tuple[int, Candidate]] = []
    latest_by_node: dict[str, int] = {}
    for node, event in touch_events:
        # Clocks of collectors differ, but events of one owner are taken back in the order in which they were applied.
        latest_by_node[node] = max(event.received_ms, latest_by_node.get(node, 0))
        candidates.append((latest_by_node[node], _touched_candidate(plan, node, event)))
    for received_ms, time_ms, node, event_id, label in untouched:
        event = TouchEvent(id=event_id, received_ms=received_ms, changed=(label,) if label else ())
        candidates.append((received_ms, _untouched_candidate(plan, node, event, time_ms)))
    candidates.sort(key=lambda pair: pair[0])  # stable, so that an event whose touch is still to come is later than its equals
    return [candidate for _, candidate in candidates[-MAX_CANDIDATES:]]


def _touched_candidate(plan: SegmentPlan, node: str, event: TouchEvent) -> Candidate:
    entries = [(key, entry) for key, exchanged in event.entries.items() for entry in exchanged]
    return Candidate(node, event, _segments_turned_by(plan, event), entries)


def _untouched_candidate(plan: SegmentPlan, node: str, event: TouchEvent, time_ms: int) -> Candidate:
    # A register that takes every event of the label, and nothing from its properties, has an entry of it for certain.
    entry = (time_ms, message_hash(node, event.id), None)
    registers = (plan.registers[key] for key in plan.turning_registers)
    keys = [
        register.key
        for register in registers
        if (register.event,) == event.changed
        and register.form in HASHED_FORMS
        and register.extract == "nothing"
        and not register.where
    ]
    return Candidate(node, event, _segments_turned_by(plan, event), [(key, entry) for key in keys], is_touched=False)


def _segments_turned_by(plan: SegmentPlan, event: TouchEvent) -> frozenset[str]:
    return frozenset(plan.segments_turned_by(event.changed) if event.changed else plan.segments)


@dataclass(frozen=True, slots=True)
class TurnFinder:
    """Finds what turned the segments of one profile.

    `fragments` are those of its members by node, `facts_of` returns what segments read of them. `candidates` are the events since
    the last evaluation in order, and `now_ms` is the instant of the present one.
    """

    plan: SegmentPlan
    fragments: Mapping[str, Fragment]
    facts_of: Callable[[Mapping[str, Fragment]], ProfileFacts]
    candidates: Sequence[Candidate]
    now_ms: int

    def find(self, segment: str, due_ms: int | None, *, is_member: bool) -> Turn | None:
        """Return what made `is_member` the answer of `segment`; None when neither an event nor time explains it.

        `due_ms` is the instant at which time could change it by the facts of the last evaluation, None when time could not.
        """
        candidates = [candidate for candidate in self.candidates if segment in candidate.segments]
        histories = {
            node: FragmentHistory(node, fragment, self.plan.registers, _entries_of(candidates, node))
            for node, fragment in self.fragments.items()
        }
        facts, end_ms = self.facts_of(self.fragments), self.now_ms
        while True:
            candidate = candidates.pop() if candidates else None
            # Before the first event only time can have changed anything, and not before it was due.
            start_ms = due_ms - 1 if candidate is None and due_ms is not None else end_ms
            if candidate is not None:
                start_ms = min(candidate.event.received_ms, end_ms)
            at_ms = self._last_turn(segment, facts, start_ms, end_ms, is_member=is_member)
            if at_ms is not None:
                return Turn(at_ms=at_ms)
            if candidate is None:
                return None
            if candidate.node in histories:
                histories[candidate.node].take_back(candidate.event)
            facts, end_ms = self.facts_of({node: history.fragment for node, history in histories.items()}), start_ms
            if self.plan.result_at(segment, facts, end_ms).is_member is not is_member:
                return Turn(event_id=candidate.event.id)

    def _last_turn(self, segment: str, facts: ProfileFacts, start_ms: int, end_ms: int, *, is_member: bool) -> int | None:
        """Return the last instant in (start, end] at which time alone made `is_member` the answer, None without one."""
        if start_ms >= end_ms:
            return None
        turned_at: int | None = None
        result = self.plan.result_at(segment, facts, start_ms)
        for at_ms, later in self._changes(segment, facts, result, end_ms):
            if later.is_member is not result.is_member:
                turned_at = at_ms if later.is_member is is_member else None
            result = later
        return turned_at

    def _changes(
        self, segment: str, facts: ProfileFacts, result: MembershipResult, end_ms: int
    ) -> Iterable[tuple[int, MembershipResult]]:
        for _ in range(MAX_TIME_CHANGES):
            if result.next_change_ms > end_ms:
                return
            at_ms = result.next_change_ms
            result = self.plan.result_at(segment, facts, at_ms)
            yield at_ms, result


def _entries_of(candidates: Iterable[Candidate], node: str) -> Iterator[tuple[str, Entry]]:
    return (entry for candidate in candidates if candidate.node == node for entry in candidate.entries)
