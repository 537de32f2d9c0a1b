"""The offsets of a time zone as a table of local times, for readers that must agree without a database of zones in common. Pure.

ClickHouse and Python each bring a database of zones, and an upgrade of one would move memberships. So both read local times by one
table that is made here, from Python's database.

Its invariant: `local_ms - offset_at(local_ms)` is what `datetime` says of that local time in the years of the table; of a time that
comes twice it is the first, and of a time that is skipped the one that the offset before the jump gives.

Example: in Asia/Ho_Chi_Minh every local time since 1975-06-13 has the offset 25,200,000 ms.
"""

from bisect import bisect_right
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from schemas.instants import DAY_MS

FIRST_YEAR: Final = 1900
LAST_YEAR: Final = 2299
_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - local times, of whatever zone
_SECOND: Final = timedelta(seconds=1)


class ZoneOffsets(NamedTuple):
    """From the local time `starts_ms[i]` on, up to the next one, the offset is `offsets_ms[i]`. Neither is empty."""

    starts_ms: tuple[int, ...]
    offsets_ms: tuple[int, ...]

    def offset_at(self, local_ms: int) -> int:
        """Return the offset, in ms east of UTC, at a local time in ms since the local 1970-01-01."""
        return self.offsets_ms[max(bisect_right(self.starts_ms, local_ms) - 1, 0)]


@lru_cache(maxsize=64)
def zone_offsets(name: str) -> ZoneOffsets:
    """Return the offsets of a zone of the IANA database in the years 1900 to 2299; before and after them the nearest one holds."""
    zone = ZoneInfo(name)
    first_s = int((datetime(FIRST_YEAR, 1, 1) - _EPOCH) / _SECOND)  # noqa: DTZ001 - as above
    end_s = int((datetime(LAST_YEAR + 1, 1, 1) - _EPOCH) / _SECOND)  # noqa: DTZ001 - as above
    starts_ms, offsets_ms = [first_s * 1000], [_offset_s(zone, first_s) * 1000]
    for day_s in range(first_s, end_s, DAY_MS // 1000):
        next_s = day_s + DAY_MS // 1000
        if (offset_s := _offset_s(zone, next_s)) * 1000 != offsets_ms[-1]:
            starts_ms.append(_first_change_s(zone, day_s, next_s) * 1000)
            offsets_ms.append(offset_s * 1000)
    return ZoneOffsets(tuple(starts_ms), tuple(offsets_ms))


def _first_change_s(zone: ZoneInfo, before_s: int, after_s: int) -> int:
    """Return the first local second at which the offset is no longer that of `before_s`. Within a day it changes once."""
    offset_s = _offset_s(zone, before_s)
    while after_s - before_s > 1:
        middle_s = (before_s + after_s) // 2
        if _offset_s(zone, middle_s) == offset_s:
            before_s = middle_s
        else:
            after_s = middle_s
    return after_s


def _offset_s(zone: ZoneInfo, local_s: int) -> int:
    offset = zone.utcoffset(_EPOCH + timedelta(seconds=local_s))
    return 0 if offset is None else int(offset.total_seconds())
