"""The one reader of instants and days from outside, and the one writer of instants. Pure.

Clients, files, webhooks and call centres write instants in many ways. This module reads every way that can mean one instant alone
and refuses the rest, because an event at a wrong time is worse than one in quarantine.

Its invariants: what names no zone is in the reader's zone, however it is written (`20250615` is the day of `2025-06-15`);
arithmetic is in whole milliseconds; a number is an epoch only where its size leaves no other meaning.

Example: in the zone Asia/Ho_Chi_Minh, `2025-06-15 14:30`, `20250615143000`, `15/06/2025 2:30 PM` (day first), `Sun, 15 Jun 2025
14:30:00 +0700` and 1749972600 are all 2025-06-15T07:30:00.000Z. 45823.6 may be a spreadsheet's day, so it is nothing unless a
format says so.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any, Final, Literal, NamedTuple

import re2

from domain.letters import is_encodable, unicode_form

NumberFormat = Literal["serial", "epoch_seconds", "epoch_ms"]
NUMBER_FORMATS: Final[tuple[NumberFormat, ...]] = ("serial", "epoch_seconds", "epoch_ms")
"""Formats of numbers: a spreadsheet's day (45823.6), and epochs of a stated unit."""
INSTANT_RULE: Final = "must be an ISO 8601, RFC 2822 or epoch instant from 1970 to 9999"
"""What an instant of a call must be, for the text of a rejection."""

_MAX_CHARS: Final = 80
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SHEET_EPOCH: Final = datetime(1899, 12, 30)  # noqa: DTZ001 - a spreadsheet's day names no zone
_MILLISECOND: Final = timedelta(milliseconds=1)
_YEAR_10000_MS: Final = 253_402_300_800_000
_FIRST_COMPACT_YEAR: Final = 1900
_SHEET_DAYS: Final = (61, 2_958_466)
"""The days of a spreadsheet that mean the same in all of them: from 1900-03-01 to 9999-12-31."""
_EPOCH_FACTORS: Final = {9: 1000, 10: 1000, 12: 1, 13: 1}
"""How many milliseconds the unit of an epoch has, by the number of its digits: seconds and milliseconds from 1973 to 2286."""
_EPOCH_DIVISORS: Final = {15: 1_000, 16: 1_000, 18: 1_000_000, 19: 1_000_000}
"""Microseconds and nanoseconds of the same years."""
_FRACTIONAL_SECONDS: Final = (10**8, 10**10)
_LARGEST_WHOLE: Final = 10**19
"""No instant has more digits; writing an endless number out costs the square of its length."""
_COMPACT: Final = re2.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})(?:([0-9]{2})([0-9]{2})(?:([0-9]{2})([0-9]{3})?)?)?")
_NUMBER: Final = re2.compile(r"[0-9]{1,15}(?:[.,][0-9]{1,12})?")
_EPOCH_WITH_FRACTION: Final = re2.compile(r"([0-9]{9,10})\.([0-9]{1,9})")
_DAY_OF_YEAR: Final = re2.compile(r"([0-9]{4})-?(36[0-6]|3[0-5][0-9]|[0-2][0-9]{2})(T.*)?")
_HOUR_24: Final = re2.compile(r"(.*[0-9][T ])24((?::?00){0,2}(?:[.,]0+)?(?:Z|[+-][0-9:]+)?)")
_SECOND_60: Final = re2.compile(r"(.*?[0-9]{2}:?[0-9]{2}:?)60([.,Z+-].*)?")
_ZONE_NAME: Final = re2.compile(r"(.*(?:[+-][0-9]{2}:?[0-9]{2}|Z|UTC|GMT)) ?(?:\[[^\]]*\]|\([^)]*\))")
"""A name in brackets behind an offset, as Java and JavaScript write it: the offset says it all."""

_MONTHS: Final = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_MONTH: Final = (
    r"(?P<name>JAN(?:UARY)?|FEB(?:RUARY)?|MAR(?:CH)?|APR(?:IL)?|MAY|JUNE?|JULY?|AUG(?:UST)?|SEPT?(?:EMBER)?|OCT(?:OBER)?|"
    r"NOV(?:EMBER)?|DEC(?:EMBER)?)\.?"
)
_WEEKDAY: Final = r"(?:(?:(?:MON|TUE|WED|THU|FRI|SAT|SUN)[A-Z]{0,6}\.?|THỨ \pL{2,3}|CHỦ NHẬT),? )?"
_TIME: Final = (
    r"(?P<hour>[0-9]{1,2})[:H](?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]{1,9}))?)? ?"
    r"(?P<half>AM|PM|A\.M\.|P\.M\.|SA|CH)?"
)
_ZONE: Final = r"(?P<utc>Z|UTC|GMT|UT)? ?(?P<offset>[+-][0-9]{1,2}(?::?[0-9]{2})?)?"
_DAY_ZONE: Final = r" ?(?:(?P<day_utc>Z|UTC|GMT)|(?P<day_offset>[+-][0-9]{2}:[0-9]{2}))"
_DAYS: Final = (
    r"(?P<year>[0-9]{4})(?P<sign>[-/.])(?P<month>[0-9]{1,2})(?P<other_sign>[-/.])(?P<day>[0-9]{1,2})",
    r"(?P<first>[0-9]{1,2})(?P<sign>[-/.])(?P<then>[0-9]{1,2})(?P<other_sign>[-/.])(?P<year>[0-9]{4})",
    rf"(?P<day>[0-9]{{1,2}})[ /-]{_MONTH}[ ,/-]+(?P<year>[0-9]{{4}})",
    rf"{_MONTH} (?P<day>[0-9]{{1,2}})(?:ST|ND|RD|TH)?(?:, ?| )(?P<year>[0-9]{{4}})",
    r"(?:NGÀY )?(?P<day>[0-9]{1,2}) (?:THÁNG|THG\.?) (?P<month>[0-9]{1,2})(?:,| NĂM)? (?P<year>[0-9]{4})",
)
_PATTERNS: Final = (
    *(rf"{_WEEKDAY}{day}(?:(?:T|,? (?:AT |LÚC )?|,){_TIME} ?{_ZONE}|{_DAY_ZONE})?" for day in _DAYS),
    *(rf"{_TIME} ?{_ZONE},? {_WEEKDAY}{day}" for day in _DAYS),
    rf"{_WEEKDAY}{_MONTH} (?P<day>[0-9]{{1,2}}) {_TIME} ?{_ZONE} (?P<year>[0-9]{{4}})",
)
"""How people and programs write days and times, in capitals and with single spaces; the last is that of C's `asctime`."""
_FORMS: Final = tuple((form, form.groupindex) for form in map(re2.compile, _PATTERNS))
"""Each with the numbers of its groups by their names, which the binding of RE2 would look up for each match."""
_AFTERNOON: Final = ("PM", "CH")
_DIRECTIVE: Final = re2.compile(r"%(.)")
_DIRECTIVES: Final = frozenset("YymdHIMSfpzjbBaA%")
"""The directives of a format that mean the same on every machine; `%Z` would read the names of the machine's own zone."""


@dataclass(frozen=True, slots=True)
class InstantReading:
    """How instants are read that do not say it themselves.

    `zone` is that of texts and compact dates that name none. `day_first` says what 05/06/2025 is, and None refuses it.
    `format` is one of NUMBER_FORMATS or a format of `strptime`; nothing else is then read.
    """

    zone: tzinfo = UTC
    day_first: bool | None = None
    format: str | None = None


IN_UTC: Final = InstantReading()


class _Written(NamedTuple):
    """A day, perhaps with a time, as it is written: `at` is naive when it names no zone."""

    at: datetime
    has_time: bool


def instant_ms(value: Any, reading: InstantReading = IN_UTC) -> int | None:
    """Return an instant in whole milliseconds since 1970; None when the value can mean none or several.

    Instants outside the years 1970 to 9999 are None too. A day without a time begins at midnight. Epochs are seconds, milliseconds,
    microseconds or nanoseconds from 1973 to 2286, by the number of their digits; 8, 14 or 17 digits are those of a date (20250615,
    20250615143000, with milliseconds).
    """
    resolved = _resolve(value, reading)
    at_ms = _to_ms(resolved.at, reading.zone) if isinstance(resolved, _Written) else resolved
    return at_ms if at_ms is not None and 0 <= at_ms < _YEAR_10000_MS else None


def iso_instant(at_ms: float) -> str | None:
    """Return an instant as Onefold writes every instant, `2025-06-15T15:06:40.000Z`; None outside the years 1970 to 9999."""
    if not 0 <= at_ms < _YEAR_10000_MS:
        return None
    return (_EPOCH + timedelta(milliseconds=int(at_ms))).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read_day(value: Any, reading: InstantReading = IN_UTC) -> str | None:
    """Return the day `1990-06-15` of a date, with or without a time, that names no zone; None for anything else.

    A day may lie before 1970: it is the date of a birth, and no instant.
    """
    resolved = _resolve(value, reading)
    return resolved.at.date().isoformat() if isinstance(resolved, _Written) and resolved.at.tzinfo is None else None


def read_day_or_instant(value: Any, reading: InstantReading = IN_UTC) -> str | None:
    """Return a day without a time as `2025-06-15`, an instant as `2025-06-15T07:30:00.000Z`; None for anything else."""
    resolved = _resolve(value, reading)
    if isinstance(resolved, _Written) and not resolved.has_time and resolved.at.tzinfo is None:
        return resolved.at.date().isoformat()
    at_ms = _to_ms(resolved.at, reading.zone) if isinstance(resolved, _Written) else resolved
    return None if at_ms is None else iso_instant(at_ms)


def check_date_format(text: str) -> str:
    """Return a format for `InstantReading.format`. Raises ValueError, which says what a format is."""
    if text in NUMBER_FORMATS:
        return text
    directives = _DIRECTIVE.findall(text)
    names_day = ({"Y", "y"} & {*directives}) and ("j" in directives or ({"m", "b", "B"} & {*directives} and "d" in directives))
    if not names_day or not _DIRECTIVES.issuperset(directives) or text.endswith("%"):
        raise ValueError(
            f"a format is {', '.join(NUMBER_FORMATS)}, or names year, month and day such as %d/%m/%y or %Y-%m-%d %H:%M:%S;"
            f" it may use %{' %'.join(sorted(_DIRECTIVES))}"
        )
    return text


def _resolve(value: Any, reading: InstantReading) -> _Written | int | None:
    """Return what is written, or the milliseconds of an epoch."""
    if isinstance(value, bool):
        return None
    if reading.format is not None:
        return _by_format(value, reading.format)
    if isinstance(value, str):
        return _read_text(value.strip(), reading) if len(value) <= _MAX_CHARS and is_encodable(value) else None
    if isinstance(value, float):
        if not value.is_integer():
            return round(value * 1000) if _FRACTIONAL_SECONDS[0] <= value < _FRACTIONAL_SECONDS[1] else None
        # A float of nanoseconds has lost some of them, and still has its milliseconds.
        value = int(value)
    return _read_digits(str(value)) if isinstance(value, int) and 0 <= value < _LARGEST_WHOLE else None


def _read_text(text: str, reading: InstantReading) -> _Written | int | None:
    if text.isdigit():
        return _read_digits(text) if text.isascii() else None
    if text[:9].isdigit() and (match := _EPOCH_WITH_FRACTION.fullmatch(text)):
        return int(match[1]) * 1000 + int(f"{match[2]}000"[:3]) if int(match[1]) >= _FRACTIONAL_SECONDS[0] else None
    return _read_iso(text) or _read_form(text, reading)


def _read_digits(digits: str) -> _Written | int | None:
    """Return what a whole number is by how many digits it has. Twelve digits that are both a date and an epoch are nothing."""
    count = len(digits)
    match = _COMPACT.fullmatch(digits)
    compact = None if match is None else _compact_date(match)
    if count in _EPOCH_FACTORS:
        is_epoch = digits[0] != "0" and compact is None
        return int(digits) * _EPOCH_FACTORS[count] if is_epoch else None
    if count in _EPOCH_DIVISORS:
        return int(digits) // _EPOCH_DIVISORS[count] if digits[0] != "0" else None
    return compact


def _compact_date(match: Any) -> _Written | None:
    year, month, day, hour, minute, second, millisecond = (int(part or 0) for part in match.groups())
    if year < _FIRST_COMPACT_YEAR:
        return None
    try:
        return _Written(datetime(year, month, day, hour, minute, second, millisecond * 1000), match[4] is not None)  # noqa: DTZ001 - the reader knows the zone
    except ValueError:
        return None


def _read_iso(text: str) -> _Written | None:
    if text[10:11] not in ("", "T", "t", " ") and text[4:5] == text[7:8] == "-" and text[8:10].isdigit():
        return None  # 2025-06-15+07:00: `fromisoformat` would take the offset for a time of day
    correction = timedelta()
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        plain, correction = _to_parsable_iso(text)
        try:
            at = datetime.fromisoformat(plain)
        except ValueError:
            return None
    has_time = ":" in text or "T" in text or "t" in text or " " in text
    try:
        return _Written(at + correction if correction else at, has_time)
    except OverflowError:
        return None


def _to_parsable_iso(text: str) -> tuple[str, timedelta]:
    """Rewrite forms of ISO 8601 that `fromisoformat` refuses, and return what must be added to the result.

    The forms are a small z, a day of the year, the hour 24 and the leap second. `2025-06-15T24:00Z` becomes `2025-06-15T00:00Z`
    and one day.
    """
    plain, correction = text.upper(), timedelta()
    if plain[:4].isdigit() and (match := _DAY_OF_YEAR.fullmatch(plain)) and match[2] != "000":
        plain = f"{match[1]}-01-01{match[3] or ''}"
        correction += timedelta(days=int(match[2]) - 1)
    if "24" in plain and (match := _HOUR_24.fullmatch(plain)):
        plain = f"{match[1]}00{match[2]}"
        correction += timedelta(days=1)
    if "60" in plain and (match := _SECOND_60.fullmatch(plain)):
        plain = f"{match[1]}59{match[2] or ''}"
        correction += timedelta(seconds=1)
    return plain, correction


def _read_form(text: str, reading: InstantReading) -> _Written | None:
    """Return what a text is that people or programs wrote in another form than ISO 8601."""
    plain = _plain(text)
    if plain.endswith(("]", ")")) and (match := _ZONE_NAME.fullmatch(plain)):
        plain = match[1]
    parts = next((_parts(match, names) for form, names in _FORMS if (match := form.fullmatch(plain)) is not None), None)
    if parts is None:
        return None
    if parts.get("sign") != parts.get("other_sign"):  # 15/06-2025
        return None
    try:
        at = datetime(int(parts["year"] or 0), *_month_and_day(parts, reading), tzinfo=_zone_of(parts))
        return _Written(at + _time_of_day(parts), parts.get("hour") is not None)
    except (ValueError, OverflowError):
        return None


def _parts(match: Any, names: Mapping[str, int]) -> dict[str, str | None]:
    return {name: match[group] for name, group in names.items()}


def _plain(text: str) -> str:
    """Return a text in capitals, with single spaces, and with the digits of all scripts as ASCII writes them."""
    words = " ".join(unicode_form("NFC", text).upper().split())
    return words if words.isascii() else "".join(str(int(letter)) if letter.isdecimal() else letter for letter in words)


def _month_and_day(parts: Mapping[str, str | None], reading: InstantReading) -> tuple[int, int]:
    """Return month and day. Raises ValueError when the text does not say which number is which."""
    if (name := parts.get("name")) is not None:
        return _MONTHS.index(name[:3]) + 1, int(parts["day"] or 0)
    if (first := parts.get("first")) is None:
        return int(parts["month"] or 0), int(parts["day"] or 0)
    if reading.day_first is None:
        raise ValueError("the order of day and month is not known")
    then = parts["then"] or ""
    return (int(then), int(first)) if reading.day_first else (int(first), int(then))


def _zone_of(parts: Mapping[str, str | None]) -> tzinfo | None:
    """Return the zone that a text names, None when it names none. Raises ValueError for an offset that no zone has."""
    offset = parts.get("offset") or parts.get("day_offset")
    if offset is None:
        return UTC if parts.get("utc") or parts.get("day_utc") else None
    digits = offset[1:].replace(":", "")
    hours, minutes = (int(digits), 0) if len(digits) <= 2 else (int(digits[:-2]), int(digits[-2:]))
    if minutes > 59:
        raise ValueError("an offset has at most 59 minutes")
    shift = timedelta(hours=hours, minutes=minutes)
    return timezone(-shift if offset[0] == "-" else shift)


def _time_of_day(parts: Mapping[str, str | None]) -> timedelta:
    """Return the time since midnight. Raises ValueError for a time that no clock shows."""
    hour, minute, second = (int(parts.get(name) or 0) for name in ("hour", "minute", "second"))
    half = (parts.get("half") or "").replace(".", "")
    if half and hour <= 12:
        hour = hour % 12 + (12 if half in _AFTERNOON else 0)
    elif half and half not in _AFTERNOON:
        raise ValueError("no hour of a morning")
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError("no such time of day")
    return timedelta(hours=hour, minutes=minute, seconds=second, milliseconds=int(f"{parts.get('fraction') or ''}000"[:3]))


def _by_format(value: Any, text_format: str) -> _Written | int | None:
    if text_format not in NUMBER_FORMATS:
        return _by_text_format(value, text_format)
    if isinstance(value, str):
        text = value.strip() if len(value) <= _MAX_CHARS else ""
        number = float(text.replace(",", ".")) if text.isascii() and _NUMBER.fullmatch(text) else math.nan
    else:
        number = float(value) if isinstance(value, int | float) and 0 <= value < _YEAR_10000_MS else math.nan
    if not 0 <= number < _YEAR_10000_MS:
        return None
    if text_format == "serial":
        first, end = _SHEET_DAYS
        at = _SHEET_EPOCH + timedelta(milliseconds=round(number * 86_400_000)) if first <= number < end else None
        return None if at is None else _Written(at, not number.is_integer())
    return round(number * (1000 if text_format == "epoch_seconds" else 1))


def _by_text_format(value: Any, text_format: str) -> _Written | None:
    text = value if isinstance(value, str) else str(value) if isinstance(value, int) else None
    if text is None or len(text) > _MAX_CHARS:
        return None
    try:
        at = datetime.strptime(text.strip(), text_format)  # noqa: DTZ007 - the reader knows the zone
    except ValueError:
        return None
    return _Written(at, "%H" in text_format or "%I" in text_format)


def _to_ms(at: datetime, zone: tzinfo) -> int | None:
    try:
        return ((at if at.tzinfo is not None else at.replace(tzinfo=zone)) - _EPOCH) // _MILLISECOND
    except OverflowError:
        return None
