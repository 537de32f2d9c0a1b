"""Which due timers of one partition to emit next, between two polls of the store. Pure: time, positions and timers are given.

**Why.** A timer stays in the store until the evaluation of its profile clears it or sets a later one. To emit a timer means to
write a `touched` record, and the evaluation of that record comes some time after. A poll of the store in between finds the timer
still there. It must not be emitted a second time, and yet it must not be forgotten if its touch never leads to an evaluation.

**Invariant.** A timer is *in flight* from its emission until the stored position of the partition passes the offset of its
touch. At most `room` timers are in flight, and none of them is emitted again meanwhile. A timer that is still in the store after
that, for the same instant, is *stuck* and is emitted again after a growing delay. So every timer in the store is emitted sooner or
later, and none floods the topic.

**Example.** The room is 2, and three timers are due at 1000: a, b and c.

    1000  poll       due: a b     ->  emits a at offset 7 and b at offset 8; the poll was cut off at the room, so c waits
    1010  update     position 7   ->  nothing is passed: position 7 means that the offsets up to 6 are applied
    1020  update     position 8   ->  a is passed; only one of two is in flight, so another poll is worth its cost
    1020  poll       due: b c     ->  a is gone, as it should be; b is in flight; emits c at offset 9
    1030  update     position 10  ->  b and c are passed
    1030  poll       due: c       ->  c outlived its touch: it is stuck
    1130  poll       due: c       ->  emits c again; if it outlives this touch too, the next delay is 200 ms, then 400 ms

**Stuck timers: are they worth a third of this file?** A timer outlives its touch in three cases. The touch was put into
quarantine, because the evaluation of this profile fails by a bug: the position moves on, and nothing is written. Or the worker's
clock went back between emission and evaluation: the evaluation found that nothing is due yet and set the same instant again. Or
the touch went to another partition, whose position is not followed here. Without a memory of such timers two simple rules remain,
and both are wrong. To emit whatever a poll finds would write a touch, and in the first case a quarantine record, at every poll for
each such profile. To emit a timer only once would leave its profile in a wrong segment until the partition is assigned anew,
against the promise that time passes by itself. A fixed delay would save nothing but the count of tries: what costs the lines is to
tell a timer that outlived its touch from one whose touch was passed while the poll was under way. So the bookkeeping stays. It is
bounded by MAX_STUCK entries (a timer beyond them is emitted too early, and not lost), and it is the memory of one process: after a
restart every stuck timer is emitted at once, and its delays begin anew.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from schemas.instants import NEVER
from streams.assigned_partitions import AT_ONCE

IDLE_POLL_INTERVAL_MS: Final = 5_000
"""The longest time between two polls. Nothing is known to be due then: it finds timers that somebody else has set."""
STUCK_RETRY_MS: Final = 100
"""The delay before a stuck timer is emitted again for the first time. Each further delay is twice as long."""
STUCK_RETRY_MAX_MS: Final = 600_000
"""The longest delay between two emissions of a stuck timer."""
MAX_STUCK: Final = 10_000
"""How many stuck timers of a partition are remembered, the latest ones."""
_MAX_TRIES: Final = 30
"""Counting stops here: more doublings cannot lengthen the delay, but would build huge integers over the weeks."""


@dataclass(frozen=True, slots=True)
class StuckTimer:
    """A timer that is still in the store although `tries` of its touches were passed."""

    due_ms: int
    tries: int
    retry_at_ms: int


class InFlightTimers:
    """The timers of one partition that are in flight or stuck, and when the next poll is worth its cost.

    The caller repeats: `update`; and if `should_poll` says so, `begin_poll`, read the store, `select` what to emit of the timers
    read, and `mark_emitted` for each touch that was written. `update` may also come while a poll is under way.
    """

    def __init__(self) -> None:
        self._in_flight: deque[tuple[int, str, int]] = deque()  # (offset, profile id, due_ms), by growing offset
        self._emitted_due: dict[str, int] = {}  # of each profile in flight: the instant last emitted
        self._passed: dict[str, int] = {}  # the same of profiles that were passed since the last poll began
        self._to_check: dict[str, int] = {}  # the same of profiles that were passed before it began: the poll decides about them
        self._stuck: dict[str, StuckTimer] = {}
        self._room = 0
        self._limit = 0
        self._earliest_set_ms = AT_ONCE
        self.has_more = False
        """Whether the last poll left due timers behind, so that the next one need not wait."""
        self.next_ms = AT_ONCE
        """The earliest instant at which something may be due. Before it no poll is needed."""

    def update(self, position: int, earliest_set_ms: int, room: int) -> None:
        """Update the progress of the partition.

        All records before the offset `position` are applied, no timer was set for an instant before `earliest_set_ms` since the
        last call, and at most `room` timers may be in flight.
        """
        while self._in_flight and self._in_flight[0][0] < position:
            _, profile_id, due_ms = self._in_flight.popleft()
            # A profile may be in flight twice, if its timer was set anew meanwhile. Only the instant emitted last counts.
            if self._emitted_due.get(profile_id) == due_ms:
                self._passed[profile_id] = self._emitted_due.pop(profile_id)
        self._room = room
        self._earliest_set_ms = min(self._earliest_set_ms, earliest_set_ms)
        self.next_ms = min(self.next_ms, self._earliest_set_ms)

    def should_poll(self, now_ms: int) -> bool:
        """Tell whether to poll the store at `now_ms`.

        With more than half of the room taken the answer is no. A poll reads the earliest timers first, so it reads all those in
        flight again; half of the room free means that at least half of what it reads can be emitted.
        """
        return self.next_ms <= now_ms and 2 * len(self._in_flight) <= self._room

    def begin_poll(self) -> int:
        """Begin a poll, and return how many due timers to read, from the earliest.

        The number covers every timer that the poll may find again, in flight or stuck, and as many new ones as there is room for.
        """
        # From here on only timers that are set during the poll count: it finds all those that were set before.
        self._earliest_set_ms = NEVER
        # What was passed before the poll began must be gone from the store now. What is passed later may or may not be.
        self._to_check |= self._passed
        self._passed = {}
        self._limit = len(self._in_flight) + len(self._stuck) + self._free_room()
        return self._limit

    def select(self, due: Sequence[tuple[str, int]], next_ms: int, now_ms: int) -> list[tuple[str, int]]:
        """Return which of the `due` timers that the poll read are to be emitted now, in their order.

        `next_ms` is the instant of the earliest timer in the store that is not due yet.
        """
        self.has_more = len(due) == self._limit
        self._update_stuck(dict(due), now_ms)
        ready = [(profile_id, due_ms) for profile_id, due_ms in due if not self._is_emitted(profile_id, due_ms, now_ms)]
        free_room = self._free_room()
        self.has_more = self.has_more or len(ready) > free_room
        next_retry_ms = min((timer.retry_at_ms for timer in self._stuck.values() if timer.retry_at_ms > now_ms), default=NEVER)
        self.next_ms = (
            now_ms if self.has_more else min(next_ms, next_retry_ms, self._earliest_set_ms, now_ms + IDLE_POLL_INTERVAL_MS)
        )
        return ready[:free_room]

    def mark_emitted(self, profile_id: str, due_ms: int, offset: int | None) -> None:
        """Count a timer as in flight until the position passes `offset`, the one of its touch in this partition.

        None is for a touch in another partition. This partition's position tells nothing about it, so it counts as passed.
        """
        if offset is None:
            self._passed[profile_id] = due_ms
            return
        self._in_flight.append((offset, profile_id, due_ms))
        self._emitted_due[profile_id] = due_ms

    def retry_at_once(self) -> None:
        """Ask for another poll: the selected timers could not be emitted."""
        self.next_ms = AT_ONCE

    def _free_room(self) -> int:
        # At least one, so that a partition makes progress however small its share of the room is.
        return max(1, self._room - len(self._in_flight))

    def _is_emitted(self, profile_id: str, due_ms: int, now_ms: int) -> bool:
        """Tell whether the timer was emitted for this instant and is not to be emitted again yet."""
        # Passed since the poll began: the poll may have read the store before the evaluation cleared the timer.
        if due_ms in (self._emitted_due.get(profile_id), self._passed.get(profile_id)):
            return True
        stuck = self._stuck.get(profile_id)
        return stuck is not None and stuck.due_ms == due_ms and stuck.retry_at_ms > now_ms

    def _update_stuck(self, stored_timers: dict[str, int], now_ms: int) -> None:
        """Update which timers are stuck. `stored_timers` are the timers that the poll read, each profile with its instant in ms."""
        # A stuck timer that the poll did not read is gone, unless the poll was cut off at its limit before it came to it.
        stuck = {
            profile_id: timer
            for profile_id, timer in self._stuck.items()
            if stored_timers.get(profile_id, timer.due_ms if self.has_more else None) == timer.due_ms
        }
        for profile_id, due_ms in self._to_check.items():
            # Another instant means that the profile was evaluated and has a new timer, which is not stuck.
            if stored_timers.get(profile_id) == due_ms:
                earlier = stuck.pop(profile_id, None)  # popped, so that it moves to the end: the oldest entries are dropped first
                tries = min(earlier.tries + 1 if earlier else 1, _MAX_TRIES)
                delay_ms = min(STUCK_RETRY_MS << (tries - 1), STUCK_RETRY_MAX_MS)
                stuck[profile_id] = StuckTimer(due_ms, tries, now_ms + delay_ms)
        self._to_check = {}
        self._stuck = dict(list(stuck.items())[-MAX_STUCK:])
