"""Entries in a window: which are inside now, and when that changes. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from segments.conditions import NEVER
from segments.registers import Entry


@dataclass(frozen=True, slots=True)
class Inside:
    """The entries in (now - within, now], newest first, and the next instant at which one comes in or goes out."""

    entries: Sequence[Entry]
    next_ms: int


def inside(entries: Sequence[Entry], within: int | None, now_ms: int) -> Inside:
    """The part of `entries` (newest first) that is in the window; all up to now without one."""
    start = None if within is None else now_ms - within
    found = [entry for entry in entries if entry[0] <= now_ms and (start is None or entry[0] > start)]
    coming = min((entry[0] for entry in entries if entry[0] > now_ms), default=NEVER)
    leaving = found[-1][0] + within if found and within is not None else NEVER
    return Inside(found, min(coming, leaving))
