"""What is known of one place's timers between two looks at the store. Pure: it is told the time, positions and what was found."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from schemas.instants import NEVER
from streams.assigned_partitions import AT_ONCE

POLL_INTERVAL_MS: Final = 50
"""The least time between two looks at a place, unless more was due than there was room for."""
IDLE_POLL_INTERVAL_MS: Final = 5_000
"""A place is looked at that often although nothing is known to be due."""
STUCK_RETRY_MS: Final = 100
"""A timer that is found to stand although its touch was passed (its record was put into quarantine, or a clock has gone back) is
said again after this time, then after twice as long each time, so that it neither is lost nor floods the topic."""
STUCK_RETRY_MAX_MS: Final = 600_000
MAX_STUCK: Final = 10_000
_MAX_TRIES: Final = 30


@dataclass(frozen=True, slots=True)
class StuckTimer:
    """A timer that outlived `tries` touches, and when it may be said again."""

    due_ms: int
    tries: int
    retry_at_ms: int


class InFlightTimers:
    """The touches of one place that wait for their evaluation: never more than there is room for.

    In turn: `update`; if it `should_poll` a look, `begin_poll`; `select` among what was found; `mark_emitted` for each that was
    written.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, str, int]] = deque()  # (offset, profile id, due_ms), offsets grow
        self._due: dict[str, int] = {}  # of each profile that waits, the instant last said
        self._passed: dict[str, int] = {}  # the same of those passed since the last look
        self._checked: dict[str, int] = {}  # those passed before the look that is under way
        self._stuck: dict[str, StuckTimer] = {}
        self._room, self._limit = 0, 0
        self._polled_ms, self._earliest_set_ms, self._has_more = -POLL_INTERVAL_MS, AT_ONCE, False
        self.next_ms = AT_ONCE
        """When something may be due."""

    def update(self, position: int, earliest_set_ms: int, room: int) -> None:
        """The place stands at `position`, no timer was set for an instant before `earliest_set_ms`, and `room` touches may wait."""
        while self._waiting and self._waiting[0][0] < position:
            _, profile_id, due_ms = self._waiting.popleft()
            if self._due.get(profile_id) == due_ms:
                self._passed[profile_id] = self._due.pop(profile_id)
        self._room, self._earliest_set_ms = room, min(self._earliest_set_ms, earliest_set_ms)
        self.next_ms = min(self.next_ms, self._earliest_set_ms)

    def should_poll(self, now_ms: int) -> bool:
        """Whether to look at the store. With half of the room taken it does not: then a look brings at least as many timers that
        can be said as it brings of those that were."""
        if self.next_ms > now_ms or 2 * len(self._waiting) > self._room:
            return False
        return self._has_more or not 0 <= now_ms - self._polled_ms < POLL_INTERVAL_MS

    def begin_poll(self, now_ms: int) -> int:
        """A look begins; returns how many due timers, from the earliest, can be of use."""
        self._polled_ms, self._earliest_set_ms = now_ms, NEVER
        self._checked, self._passed = self._checked | self._passed, {}
        self._limit = len(self._waiting) + len(self._stuck) + max(1, self._room - len(self._waiting))
        return self._limit

    def select(self, due: Sequence[tuple[str, int]], next_ms: int, now_ms: int) -> list[tuple[str, int]]:
        """Those to be said now of the `due` timers found, in their order; `next_ms` is the instant of the next that was not."""
        self._has_more = len(due) == self._limit
        self._update_stuck(dict(due), now_ms)
        room = max(1, self._room - len(self._waiting))
        ready = [(name, due_ms) for name, due_ms in due if not self._is_in_flight(name, due_ms, now_ms)]
        self._has_more = self._has_more or len(ready) > room
        next_retry_ms = min((timer.retry_at_ms for timer in self._stuck.values() if timer.retry_at_ms > now_ms), default=NEVER)
        self.next_ms = (
            now_ms if self._has_more else min(next_ms, next_retry_ms, self._earliest_set_ms, now_ms + IDLE_POLL_INTERVAL_MS)
        )
        return ready[:room]

    def mark_emitted(self, profile_id: str, due_ms: int, offset: int | None) -> None:
        """A touch stands at `offset`. None is for one that went to another place, whose position tells nothing of it."""
        if offset is None:
            self._passed[profile_id] = due_ms
            return
        self._waiting.append((offset, profile_id, due_ms))
        self._due[profile_id] = due_ms

    def retry_at_once(self) -> None:
        """What was chosen could not be said."""
        self.next_ms = AT_ONCE

    def _is_in_flight(self, profile_id: str, due_ms: int, now_ms: int) -> bool:
        """Said already: it waits, or was passed while the look was under way, or stands in vain and its time has not come."""
        if due_ms in (self._due.get(profile_id), self._passed.get(profile_id)):
            return True
        stuck = self._stuck.get(profile_id)
        return stuck is not None and stuck.due_ms == due_ms and stuck.retry_at_ms > now_ms

    def _update_stuck(self, stored_timers: dict[str, int], now_ms: int) -> None:
        """Which timers stand in vain: those passed before the look, and those known before that may lie beyond what was found."""
        stuck = {
            name: timer
            for name, timer in self._stuck.items()
            if stored_timers.get(name, timer.due_ms if self._has_more else None) == timer.due_ms
        }
        for name, due_ms in self._checked.items():
            if stored_timers.get(name) == due_ms:
                earlier = stuck.pop(name, None)
                tries = min(earlier.tries + 1 if earlier else 1, _MAX_TRIES)
                stuck[name] = StuckTimer(due_ms, tries, now_ms + min(STUCK_RETRY_MS << (tries - 1), STUCK_RETRY_MAX_MS))
        self._checked = {}
        self._stuck = dict(list(stuck.items())[-MAX_STUCK:])
