"""Read cells of files as people and spreadsheets write them: numbers, instants, days. Pure."""

import re
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from domain.intake.values import instant_ms, iso_instant

_CURRENCY: Final = re.compile(r"(?:\s*(?:đ|₫|vnđ|vnd|dong|đồng))$|^(?:₫|\$|€)\s*", re.IGNORECASE)
_WHOLE: Final = re.compile(r"[+-]?\d{1,15}")
_GROUPED: Final = re.compile(r"[+-]?\d{1,3}(?:([., \u00a0])\d{3})(?:\1\d{3})*(?:([.,])(\d{1,2}))?")
_DECIMAL: Final = re.compile(r"[+-]?\d{1,15}[.,]\d{1,6}")
_DAY: Final = re.compile(r"(\d{1,2})[/.\-](\d{1,2})[/.\-](\d{4})(?:[ T,]+(\d{1,2}):(\d{2})(?::(\d{2}))?)?")


def parse_number(value: Any) -> int | float | None:
    """Return a number written as `1250000`, `1.250.000`, `1,250,000.50` or `1.250.000,5 ₫`; None for anything else.

    A single separator before exactly three digits separates thousands: `1.250` is 1250.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if not isinstance(value, str):
        return None
    text = _CURRENCY.sub("", value.strip()).strip()
    if _WHOLE.fullmatch(text):
        return int(text)
    grouped = _GROUPED.fullmatch(text)
    if grouped and grouped[1] != grouped[2]:
        whole = text[: -len(grouped[3]) - 1] if grouped[3] else text
        digits = whole.replace(grouped[1], "")
        return float(f"{digits}.{grouped[3]}") if grouped[3] else int(digits)
    return float(text.replace(",", ".")) if _DECIMAL.fullmatch(text) else None


def parse_instant(value: Any, zone: ZoneInfo, *, day_first: bool) -> str | None:
    """Return an instant in ISO 8601 and UTC, from ISO 8601, an epoch number or `15/06/2025 14:30`; None for anything else.

    A time that names no zone is in `zone`.
    """
    at = _parse_local(value, zone, day_first=day_first) if isinstance(value, str) else None
    at_ms = instant_ms(value) if at is None else int(at.timestamp() * 1000)
    return None if at_ms is None else iso_instant(at_ms)


def parse_day(value: Any, *, day_first: bool) -> Any:
    """Return `15/06/1990` as `1990-06-15`. Anything written otherwise stays as it is."""
    at = _parse_written(value.strip(), day_first=day_first) if isinstance(value, str) else None
    return value if at is None else at.date().isoformat()


def _parse_local(value: str, zone: ZoneInfo, *, day_first: bool) -> datetime | None:
    """Return the instant of a text that names no zone; None when it names one, or is no time."""
    text = value.strip()
    at = _parse_written(text, day_first=day_first)
    if at is None and not text.isdigit():
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            return None
    return at.replace(tzinfo=zone) if at is not None and at.tzinfo is None else None


def _parse_written(text: str, *, day_first: bool) -> datetime | None:
    match = _DAY.fullmatch(text)
    if match is None:
        return None
    first, second, year, hour, minute, seconds = (int(part or 0) for part in match.groups())
    day, month = (first, second) if day_first else (second, first)
    try:
        return datetime(year, month, day, hour, minute, seconds)  # noqa: DTZ001 - the caller knows the zone
    except ValueError:
        return None
