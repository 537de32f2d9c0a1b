"""Touches: many of one profile in a slice are one evaluation, and those for a profile that went elsewhere follow it. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from profile_store.port import Label, Place
from runtime.bus.port import Record
from schemas.records import Cause, Touched


@dataclass(frozen=True, slots=True)
class Touches:
    """All touches of one profile in a slice: one evaluation. `changed` is all that they say has changed, None for everything.

    `since_ms` and `offsets` are those of touches that were only said because definitions changed.
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

    def left_to_its_event(self, guards: Iterable[tuple[str, int]]) -> bool:
        """Whether one of the profile's fragments, given as (guard, offset), has an event since then: its own touch comes, or came,
        and all that is due is found by that, with the event as its cause."""
        places = {Place("events", number, len(self.offsets)).name: offset for number, offset in enumerate(self.offsets)}
        return any(guard in places and offset >= places[guard] for guard, offset in guards)


_WEIGHT: Mapping[Cause, int] = {
    "event": 4, "link": 3, "timer": 2, "group": 1, "rebuild": 1, "backfill": 1, "reconcile": 1, "merge": 0, "split": 0,
    "definition": 0,
}  # fmt: skip
_DUE_ALONE: frozenset[Cause] = frozenset({"timer", "group"})
"""A timer concerns what is due; a group those segments that look at groups, and they are looked at with every touch."""


def coalesce(records: Iterable[tuple[Record, Touched]]) -> dict[str, Touches]:
    """One entry per profile; the weightiest cause speaks, the latest of equals."""
    found: dict[str, Touches] = {}
    for record, touched in records:
        held = found.get(touched.profile_id)
        due = touched.at_ms if touched.cause == "timer" else 0
        changed = frozenset(touched.changed) if touched.changed or touched.cause in _DUE_ALONE else None
        if held is None:
            found[touched.profile_id] = Touches(
                touched.cause, touched.event_id, due, record.offset, record.offset, frozenset({touched.node}), changed,
                touched.since_ms, touched.offsets,
            )  # fmt: skip
            continue
        speaks = _WEIGHT[touched.cause] >= _WEIGHT[held.cause]
        found[touched.profile_id] = Touches(
            touched.cause if speaks else held.cause,
            touched.event_id if speaks else held.event_id,
            min(filter(None, (held.due_ms, due)), default=0),
            held.first_offset,
            record.offset,
            held.nodes | {touched.node},
            None if changed is None or held.changed is None else held.changed | changed,
            held.since_ms if touched.since_ms else 0,
            held.offsets if touched.offsets else (),
        )
    return found


def forward(touches: Mapping[str, Touches], labels: Mapping[str, Label], now_ms: int) -> list[Touched]:
    """Touches whose node belongs to another profile by now, said again for that one, which knows nothing of what changed."""
    return [
        Touched(
            profile_id=labels[node].profile_id,
            node=node,
            cause=touched.cause,
            event_id=touched.event_id,
            at_ms=now_ms,
            since_ms=touched.since_ms,
            offsets=touched.offsets,
        )
        for profile_id, touched in touches.items()
        for node in sorted(touched.nodes)
        if node in labels and node != profile_id and labels[node].profile_id != profile_id
    ]
