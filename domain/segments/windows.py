"""Entries in a window: which are inside now, and when that changes. Pure."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from domain.segments.comparisons import NEVER
from domain.segments.registers import Entry


class Inside(NamedTuple):
    """The entries in (now - within, now], newest first, and the next instant at which one comes in or goes out."""

    entries: Sequence[Entry]
    next_ms: int


NOTHING: Final = Inside((), NEVER)


def inside(entries: Sequence[Entry], within: int | None, now_ms: int) -> Inside:
    """The part of `entries` (newest first) that is in the window; all up to now without one."""
    if not entries:
        return NOTHING
    start = None if within is None else now_ms - within
    if entries[0][0] <= now_ms and (start is None or entries[-1][0] > start):
        return Inside(entries, NEVER if within is None else entries[-1][0] + within)
    found = [entry for entry in entries if entry[0] <= now_ms and (start is None or entry[0] > start)]
    coming = min((entry[0] for entry in entries if entry[0] > now_ms), default=NEVER)
    leaving = found[-1][0] + within if found and within is not None else NEVER
    return Inside(found, min(coming, leaving))
