"""Touches: coalesce those of one profile into one evaluation, and forward those whose node belongs to another profile now. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from domain.identity.model import Label
from profile_store.port import TopicPartition
from runtime.bus.port import Record
from schemas.records import Cause, Touched, TouchEvent

MAX_FORWARDED_EVENTS: Final = 50
"""How many of the latest events a forwarded touch names, so that the record of many touches does not become too large."""


@dataclass(frozen=True, slots=True)
class Touches:
    """All touches of one profile in a slice; together they cause one evaluation.

    `changed` is the union of the changes that the touches name; None means that everything may have changed. `since_ms` and
    `offsets` are set only if every touch was emitted because definitions changed. They are then the instant of that change in ms
    and the end offsets of the topic `events` at that instant. `causes` are those of all touches. `events` are the events that can
    have turned a segment, each with its owner, in the order in which they were applied.
    """

    cause: Cause
    event_id: str
    due_ms: int
    first_offset: int
    last_offset: int
    nodes: frozenset[str]
    changed: frozenset[str] | None
    since_ms: int = 0
    offsets: tuple[int, ...] = ()
    causes: frozenset[Cause] = frozenset()
    events: tuple[tuple[str, TouchEvent], ...] = ()

    def superseded_by_event(self, guards: Iterable[tuple[str, int]]) -> bool:
        """Tell whether one of the profile's fragments, given as (guard, offset), has an event since the definitions changed.

        The touch of that event has come or will come. It finds all that is due, with the event as the cause.
        """
        offsets_by_guard = {
            TopicPartition("events", number, len(self.offsets)).guard_name: offset for number, offset in enumerate(self.offsets)
        }
        return any(guard in offsets_by_guard and offset >= offsets_by_guard[guard] for guard, offset in guards)


_WEIGHT: Mapping[Cause, int] = {
    "event": 4, "link": 3, "timer": 2, "group": 1, "rebuild": 1, "backfill": 1, "reconcile": 1, "merge": 0, "split": 0,
    "definition": 0,
}  # fmt: skip
_ONLY_DUE_CAUSES: frozenset[Cause] = frozenset({"timer", "group"})
"""Causes whose touches name no change. A timer concerns what is due; a group concerns the segments that look at groups, and those
are evaluated with every touch."""


def coalesce(records: Iterable[tuple[Record, Touched]]) -> dict[str, Touches]:
    """Return one entry for each profile. Its cause is that of the touch with the largest weight; the latest of equal ones wins."""
    touches_by_profile: dict[str, Touches] = {}
    for record, touched in records:
        earlier = touches_by_profile.get(touched.profile_id)
        due_ms = touched.at_ms if touched.cause == "timer" else 0
        events = tuple((touched.node, event) for event in touched.events)
        changed = frozenset(touched.changed) if touched.changed or touched.cause in _ONLY_DUE_CAUSES else None
        if earlier is None:
            touches_by_profile[touched.profile_id] = Touches(
                touched.cause, touched.event_id, due_ms, record.offset, record.offset, frozenset({touched.node}), changed,
                touched.since_ms, touched.offsets, frozenset({touched.cause}), events,
            )  # fmt: skip
            continue
        outweighs = _WEIGHT[touched.cause] >= _WEIGHT[earlier.cause]
        touches_by_profile[touched.profile_id] = Touches(
            cause=touched.cause if outweighs else earlier.cause,
            event_id=touched.event_id if outweighs else earlier.event_id,
            due_ms=min(filter(None, (earlier.due_ms, due_ms)), default=0),
            first_offset=earlier.first_offset,
            last_offset=record.offset,
            nodes=earlier.nodes | {touched.node},
            changed=None if changed is None or earlier.changed is None else earlier.changed | changed,
            since_ms=earlier.since_ms if touched.since_ms else 0,
            offsets=earlier.offsets if touched.offsets else (),
            causes=earlier.causes | {touched.cause},
            events=_without_repetitions(earlier.events, events),
        )
    return touches_by_profile


def _without_repetitions(
    earlier: tuple[tuple[str, TouchEvent], ...], later: tuple[tuple[str, TouchEvent], ...]
) -> tuple[tuple[str, TouchEvent], ...]:
    """Return both, without events that a replay has sent again: the first touch of an event knows more about it."""
    known = {(node, event.id) for node, event in earlier}
    return (*earlier, *((node, event) for node, event in later if (node, event.id) not in known))


def forward(touches: Mapping[str, Touches], labels: Mapping[str, Label], now_ms: int) -> list[Touched]:
    """Return touches for the profiles to which touched nodes belong now, where that is not the profile that was touched.

    These touches name no change, so the other profile is evaluated completely.
    """
    return [
        Touched(
            profile_id=labels[node].profile_id,
            node=node,
            cause=touched.cause,
            event_id=touched.event_id,
            at_ms=now_ms,
            since_ms=touched.since_ms,
            offsets=touched.offsets,
            events=tuple(event for owner, event in touched.events if owner == node)[-MAX_FORWARDED_EVENTS:],
        )
        for profile_id, touched in touches.items()
        for node in sorted(touched.nodes)
        if node in labels and node != profile_id and labels[node].profile_id != profile_id
    ]
