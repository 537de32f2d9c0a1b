"""Touches: many of one profile in a slice are one evaluation, and those for a profile that went elsewhere follow it. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from domain.identity.model import Label
from profile_store.port import TopicPartition
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

    def superseded_by_event(self, guards: Iterable[tuple[str, int]]) -> bool:
        """Whether one of the profile's fragments, given as (guard, offset), has an event since then: its own touch comes, or came,
        and all that is due is found by that, with the event as its cause."""
        offsets_by_guard = {
            TopicPartition("events", number, len(self.offsets)).guard_name: offset for number, offset in enumerate(self.offsets)
        }
        return any(guard in offsets_by_guard and offset >= offsets_by_guard[guard] for guard, offset in guards)


_WEIGHT: Mapping[Cause, int] = {
    "event": 4, "link": 3, "timer": 2, "group": 1, "rebuild": 1, "backfill": 1, "reconcile": 1, "merge": 0, "split": 0,
    "definition": 0,
}  # fmt: skip
_ONLY_DUE_CAUSES: frozenset[Cause] = frozenset({"timer", "group"})
"""A timer concerns what is due; a group those segments that look at groups, and they are looked at with every touch."""


def coalesce(records: Iterable[tuple[Record, Touched]]) -> dict[str, Touches]:
    """One entry per profile; the weightiest cause speaks, the latest of equals."""
    touches_by_profile: dict[str, Touches] = {}
    for record, touched in records:
        earlier = touches_by_profile.get(touched.profile_id)
        due_ms = touched.at_ms if touched.cause == "timer" else 0
        changed = frozenset(touched.changed) if touched.changed or touched.cause in _ONLY_DUE_CAUSES else None
        if earlier is None:
            touches_by_profile[touched.profile_id] = Touches(
                touched.cause, touched.event_id, due_ms, record.offset, record.offset, frozenset({touched.node}), changed,
                touched.since_ms, touched.offsets,
            )  # fmt: skip
            continue
        outweighs = _WEIGHT[touched.cause] >= _WEIGHT[earlier.cause]
        touches_by_profile[touched.profile_id] = Touches(
            touched.cause if outweighs else earlier.cause,
            touched.event_id if outweighs else earlier.event_id,
            min(filter(None, (earlier.due_ms, due_ms)), default=0),
            earlier.first_offset,
            record.offset,
            earlier.nodes | {touched.node},
            None if changed is None or earlier.changed is None else earlier.changed | changed,
            earlier.since_ms if touched.since_ms else 0,
            earlier.offsets if touched.offsets else (),
        )
    return touches_by_profile


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
