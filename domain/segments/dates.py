"""Dates in conditions: the spellings of `domain.instants` that the stream and ClickHouse's SQL read alike. Pure.

`sql/functions.py` writes the same for ClickHouse ("Streaming equals SQL"). A test holds that whatever is read here, the reader of
`domain.instants` reads as the same instant. Spellings that need more than digits are brought into these by the intake of files and
webhooks (`dates` of a mapping).
"""

from datetime import date
from typing import Any, Final

import re2

from domain.instants import InstantReading, instant_ms
from domain.zone_offsets import FIRST_YEAR, LAST_YEAR, zone_offsets
from schemas.instants import DAY_MS

INSTANT_PATTERN: Final = (
    r"^([0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{4}/[0-9]{2}/[0-9]{2})"
    r"(?:[Tt ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:[.]([0-9]{1,9}))?)?(?: ?(?:([Zz]|UTC|GMT)|([+-])([0-9]{2}):?([0-9]{2})))?)?$"
)
"""A date, or a date and a time. Groups: date, hours, minutes, seconds, fraction; UTC, or the zone's sign, hours, minutes."""
_INSTANT_REGEX: Final = re2.compile(INSTANT_PATTERN)
_MAX_CHARS: Final = 64
_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()


def parse_instant(value: Any, zone: str | None = None) -> int | None:
    """Return the instant, in ms, of a text that is a date, or a date and a time; None for anything else.

    `zone` is the time zone of texts that name none. Without it a date begins at midnight in UTC, and a time without a zone is no
    instant: it would mean something else on every machine. The years are 1900 to 2299, since ClickHouse's dates end there.
    """
    match = _match(value) if isinstance(value, str) else None
    if match is None:
        return None
    day, hours, minutes, seconds, fraction, utc, sign, zone_hours, zone_minutes = match.groups(default="")
    try:
        days = date.fromisoformat(day.replace("/", "-"))
    except ValueError:
        return None
    clock_fields = (int(hours or 0), int(minutes or 0), int(seconds or 0), int(zone_hours or 0), int(zone_minutes or 0))
    if not FIRST_YEAR <= days.year <= LAST_YEAR or any(
        number > maximum for number, maximum in zip(clock_fields, (23, 59, 59, 23, 59), strict=True)
    ):
        return None
    time_of_day_ms = ((clock_fields[0] * 60 + clock_fields[1]) * 60 + clock_fields[2]) * 1_000 + int(f"{fraction}000"[:3])
    local_ms = (days.toordinal() - _EPOCH_ORDINAL) * DAY_MS + time_of_day_ms
    if utc or sign:
        return local_ms - (clock_fields[3] * 60 + clock_fields[4]) * 60_000 * (-1 if sign == "-" else 1)
    if zone is None:
        return None if hours else local_ms
    return local_ms - zone_offsets(zone).offset_at(local_ms)


def _match(text: str) -> Any:
    return _INSTANT_REGEX.fullmatch(text) if len(text) <= _MAX_CHARS and text.isascii() else None


def date_problem(value: Any, zone: str | None = None) -> str:
    """Return why a value is no date, in words for people; empty when it is one."""
    if parse_instant(value, zone) is not None:
        return ""
    if not isinstance(value, str):
        return f"{'a number' if isinstance(value, int | float) and not isinstance(value, bool) else 'a value'} that is no date"
    match = _match(value)
    if (
        match is not None
        and not match[6]
        and not match[7]
        and match[2]
        and zone is None
        and parse_instant(value, "UTC") is not None
    ):
        return "a time without a zone, which is no date unless the condition names its `zone`"
    if match is not None and not f"{FIRST_YEAR}" <= value[:4] <= f"{LAST_YEAR}":
        return f"a date outside of the years {FIRST_YEAR} to {LAST_YEAR}"
    if instant_ms(value, InstantReading(day_first=True)) is not None:
        return "a text that is no date as conditions read it, such as 2026-11-22: name it in `dates` of the import's mapping"
    return "a text that is no date"
