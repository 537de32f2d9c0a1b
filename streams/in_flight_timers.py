"""What is known of one place's timers between two looks at the store. Pure: it is told the time, positions and what was found."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from streams.assigned_partitions import AT_ONCE, NEVER

LOOK_MS: Final = 50
"""The least time between two looks at a place, unless more was due than there was room for."""
UNASKED_MS: Final = 5_000
"""A place is looked at that often although nothing is known to be due."""
VAIN_MS: Final = 100
"""A timer that is found to stand although its touch was passed (its record was put into quarantine, or a clock has gone back) is
said again after this time, then after twice as long each time, so that it neither is lost nor floods the topic."""
VAIN_MOST_MS: Final = 600_000
VAIN_KEPT: Final = 10_000
_MOST_TRIES: Final = 30


@dataclass(frozen=True, slots=True)
class Vain:
    """A timer that outlived `tries` touches, and when it may be said again."""

    due_ms: int
    tries: int
    again_ms: int


class Window:
    """The touches of one place that wait for their evaluation: never more than there is room for.

    In turn: `see`; if it `wants` a look, `start`; `choose` among what was found; `said` for each that was written.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, str, int]] = deque()  # (offset, profile id, due_ms), offsets grow
        self._due: dict[str, int] = {}  # of each profile that waits, the instant last said
        self._passed: dict[str, int] = {}  # the same of those passed since the last look
        self._checked: dict[str, int] = {}  # those passed before the look that is under way
        self._vain: dict[str, Vain] = {}
        self._room, self._limit = 0, 0
        self._looked_ms, self._soonest_ms, self._more = -LOOK_MS, AT_ONCE, False
        self.next_ms = AT_ONCE
        """When something may be due."""

    def see(self, position: int, soonest_ms: int, room: int) -> None:
        """The place stands at `position`, no timer was set for an instant before `soonest_ms`, and `room` touches may wait."""
        while self._waiting and self._waiting[0][0] < position:
            _, profile_id, due_ms = self._waiting.popleft()
            if self._due.get(profile_id) == due_ms:
                self._passed[profile_id] = self._due.pop(profile_id)
        self._room, self._soonest_ms = room, min(self._soonest_ms, soonest_ms)
        self.next_ms = min(self.next_ms, self._soonest_ms)

    def wants(self, now_ms: int) -> bool:
        """Whether to look at the store. With half of the room taken it does not: then a look brings at least as many timers that
        can be said as it brings of those that were."""
        if self.next_ms > now_ms or 2 * len(self._waiting) > self._room:
            return False
        return self._more or not 0 <= now_ms - self._looked_ms < LOOK_MS

    def start(self, now_ms: int) -> int:
        """A look begins; returns how many due timers, from the earliest, can be of use."""
        self._looked_ms, self._soonest_ms = now_ms, NEVER
        self._checked, self._passed = self._checked | self._passed, {}
        self._limit = len(self._waiting) + len(self._vain) + max(1, self._room - len(self._waiting))
        return self._limit

    def choose(self, due: Sequence[tuple[str, int]], next_ms: int, now_ms: int) -> list[tuple[str, int]]:
        """Those to be said now of the `due` timers found, in their order; `next_ms` is the instant of the next that was not."""
        self._more = len(due) == self._limit
        self._reckon(dict(due), now_ms)
        room = max(1, self._room - len(self._waiting))
        fresh = [(name, due_ms) for name, due_ms in due if not self._at_rest(name, due_ms, now_ms)]
        self._more = self._more or len(fresh) > room
        again_ms = min((vain.again_ms for vain in self._vain.values() if vain.again_ms > now_ms), default=NEVER)
        self.next_ms = now_ms if self._more else min(next_ms, again_ms, self._soonest_ms, now_ms + UNASKED_MS)
        return fresh[:room]

    def said(self, profile_id: str, due_ms: int, offset: int | None) -> None:
        """A touch stands at `offset`. None is for one that went to another place, whose position tells nothing of it."""
        if offset is None:
            self._passed[profile_id] = due_ms
            return
        self._waiting.append((offset, profile_id, due_ms))
        self._due[profile_id] = due_ms

    def again(self) -> None:
        """What was chosen could not be said."""
        self.next_ms = AT_ONCE

    def _at_rest(self, profile_id: str, due_ms: int, now_ms: int) -> bool:
        """Said already: it waits, or was passed while the look was under way, or stands in vain and its time has not come."""
        if due_ms in (self._due.get(profile_id), self._passed.get(profile_id)):
            return True
        vain = self._vain.get(profile_id)
        return vain is not None and vain.due_ms == due_ms and vain.again_ms > now_ms

    def _reckon(self, standing: dict[str, int], now_ms: int) -> None:
        """Which timers stand in vain: those passed before the look, and those known before that may lie beyond what was found."""
        kept = {
            name: vain
            for name, vain in self._vain.items()
            if standing.get(name, vain.due_ms if self._more else None) == vain.due_ms
        }
        for name, due_ms in self._checked.items():
            if standing.get(name) == due_ms:
                before = kept.pop(name, None)
                tries = min(before.tries + 1 if before else 1, _MOST_TRIES)
                kept[name] = Vain(due_ms, tries, now_ms + min(VAIN_MS << (tries - 1), VAIN_MOST_MS))
        self._checked = {}
        self._vain = dict(list(kept.items())[-VAIN_KEPT:])
