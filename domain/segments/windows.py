"""Entries in a window: which are inside now, and when that changes. Pure.

Windows are half open, (now - within, now]: an event is inside at its own millisecond, and out when it is exactly
`within` old. So every edge belongs to one side, and "the next instant at which it changes" is exact: a timer set for it
finds the change, one millisecond earlier does not ("Time passes by itself").

An example: entries at 1,000 and 4,000 ms, within 10,000 ms. At 5,000 both are inside and the next change is at 11,000,
when the first is exactly 10,000 old. At 11,000 one is inside and the next change is at 14,000.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from domain.segments.registers import Entry
from schemas.instants import NEVER


class WindowEntries(NamedTuple):
    """The entries in (now - within, now], newest first.

    `next_change_ms` is the next instant at which an entry enters or leaves; NEVER when none does.
    """

    entries: Sequence[Entry]
    next_change_ms: int


NO_ENTRIES: Final = WindowEntries((), NEVER)


def entries_in_window(entries: Sequence[Entry], within: int | None, now_ms: int) -> WindowEntries:
    """Return the part of `entries` (newest first) that is in the window; without a window (None), all up to now."""
    if not entries:
        return NO_ENTRIES
    start = None if within is None else now_ms - within
    # The usual case, decided by the newest and the oldest entry alone: everything is inside, and the oldest is the first to leave.
    if entries[0][0] <= now_ms and (start is None or entries[-1][0] > start):
        return WindowEntries(entries, NEVER if within is None else entries[-1][0] + within)
    in_window = [entry for entry in entries if entry[0] <= now_ms and (start is None or entry[0] > start)]
    # Entries later than now exist when this worker's clock is behind that of the process which accepted the event.
    next_arrival_ms = min((entry[0] for entry in entries if entry[0] > now_ms), default=NEVER)
    next_departure_ms = in_window[-1][0] + within if in_window and within is not None else NEVER
    return WindowEntries(in_window, min(next_arrival_ms, next_departure_ms))
