"""Entries in a window: which are inside now, and when that changes. Pure."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from domain.segments.registers import Entry
from schemas.instants import NEVER


class WindowEntries(NamedTuple):
    """The entries in (now - within, now], newest first, and the next instant at which one comes in or goes out."""

    entries: Sequence[Entry]
    next_change_ms: int


NO_ENTRIES: Final = WindowEntries((), NEVER)


def entries_in_window(entries: Sequence[Entry], within: int | None, now_ms: int) -> WindowEntries:
    """The part of `entries` (newest first) that is in the window; all up to now without one."""
    if not entries:
        return NO_ENTRIES
    start = None if within is None else now_ms - within
    if entries[0][0] <= now_ms and (start is None or entries[-1][0] > start):
        return WindowEntries(entries, NEVER if within is None else entries[-1][0] + within)
    in_window = [entry for entry in entries if entry[0] <= now_ms and (start is None or entry[0] > start)]
    next_arrival_ms = min((entry[0] for entry in entries if entry[0] > now_ms), default=NEVER)
    next_departure_ms = in_window[-1][0] + within if in_window and within is not None else NEVER
    return WindowEntries(in_window, min(next_arrival_ms, next_departure_ms))
