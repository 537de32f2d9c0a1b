"""JSON values from outside: how they are decoded, what they must not hold, and how clients write instants. Pure."""

import json
import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import orjson

from schemas.reasons import Reason

MAX_DEPTH: Final = 32
MAX_NAMES: Final = 1000
MAX_NAME_CHARS: Final = 256
_SMALLEST_INT: Final = -(2**63)
_LARGEST_INT: Final = 2**64 - 1
_LARGEST_EXACT_FLOAT: Final = 2**53
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_YEAR_10000_MS: Final = 253_402_300_800_000
_DAY_OF_YEAR: Final = re.compile(r"([0-9]{4})-?(?!000)(36[0-6]|3[0-5][0-9]|[0-2][0-9]{2})(?=T|$)")
_HOUR_24: Final = re.compile(r"(?<=[0-9])([T ])24((?::?00){0,2}(?:[.,]0+)?(?:Z|[+-][0-9:]+)?)$")
_SECOND_60: Final = re.compile(r"([0-9]{2}:?[0-9]{2}:?)(60)(?=[.,Z+-]|$)")
_LONG_RUN_OF_DIGITS: Final = b"0" * 19
"""The smallest integer beyond 64 bits has so many digits."""
_DIGITS_AS_ZEROS: Final = bytes(ord("0") if ord("0") <= byte <= ord("9") else ord(" ") for byte in range(256))
"""For `bytes.translate`, because it finds a long number ten times faster than a regular expression does."""
_DIGITS: Final = (10, 13)
"""Lengths at which a string of digits is an epoch (seconds, milliseconds) and not a date."""


class Unparsable(ValueError):
    """The bytes are not JSON in UTF-8."""


def loads(raw: bytes) -> Any:
    """Return the JSON value of UTF-8 bytes. Raises Unparsable.

    What orjson refuses and `json` decodes (lone surrogates, NaN) is returned as it is, and `find_violation` finds it later: one
    event with such a value must not cost its whole batch. The same holds for integers beyond 64 bits, which orjson would turn into
    the nearest floating-point number without a word.
    """
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        value = Unparsable
    if value is not Unparsable and _LONG_RUN_OF_DIGITS not in raw.translate(_DIGITS_AS_ZEROS):
        return value
    try:
        return json.loads(raw.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise Unparsable(type(error).__name__) from None


class Violation(NamedTuple):
    """Why a value cannot be stored; `description` quotes no value."""

    reason: Reason
    description: str


_SURROGATE: Final = Violation(Reason.WRONG_TYPE, "text with a lone surrogate")
_LARGE_INT: Final = Violation(Reason.WRONG_TYPE, "an integer beyond 64 bits")
_NOT_FINITE: Final = Violation(Reason.WRONG_TYPE, "a number that is not finite")
_NOT_JSON: Final = Violation(Reason.WRONG_TYPE, "a value that is not JSON")
_TOO_DEEP: Final = Violation(Reason.TOO_DEEP, f"nesting deeper than {MAX_DEPTH} levels")
_TOO_MANY_NAMES: Final = Violation(Reason.TOO_MANY_PROPERTIES, f"an object of more than {MAX_NAMES} names")
_NAME_TOO_LONG: Final = Violation(Reason.NAME_TOO_LONG, f"a name longer than {MAX_NAME_CHARS} characters")


def find_violation(value: Any, depth: int = MAX_DEPTH) -> Violation | None:
    """Return why a decoded JSON value cannot be stored, None when it can.

    No store keeps NaN, an integer beyond 64 bits or a lone surrogate, and limits bound depth, names and their length.
    """
    if isinstance(value, str):
        return None if value.isascii() else _unencodable(value)
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, int):
        return None if _SMALLEST_INT <= value <= _LARGEST_INT else _LARGE_INT
    if isinstance(value, float):
        return None if math.isfinite(value) else _NOT_FINITE
    if depth <= 0:
        return _TOO_DEEP
    if isinstance(value, dict):
        return _find_violation_in_object(value, depth - 1)
    if isinstance(value, list):
        return next((violation for item in value if (violation := find_violation(item, depth - 1)) is not None), None)
    return _NOT_JSON


def _find_violation_in_object(value: dict[Any, Any], depth: int) -> Violation | None:
    if len(value) > MAX_NAMES:
        return _TOO_MANY_NAMES
    for key, item in value.items():
        if not isinstance(key, str):
            return _NOT_JSON
        if len(key) > MAX_NAME_CHARS:
            return _NAME_TOO_LONG
        if not key.isascii() and (violation := _unencodable(key)) is not None:
            return violation
        if type(item) is str and item.isascii():
            continue
        if (violation := find_violation(item, depth)) is not None:
            return violation
    return None


def _unencodable(text: str) -> Violation | None:
    try:
        text.encode()
    except UnicodeEncodeError:
        return _SURROGATE
    return None


def text_of(value: Any) -> str | None:
    """Return an identifier as text: a string as it is, an exact whole number by its digits; None for any other value."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and abs(value) < _LARGEST_EXACT_FLOAT and value.is_integer():
        return str(int(value))
    return None


def instant_ms(value: Any) -> int | None:
    """Return an instant in milliseconds since the epoch; None when the value is no instant, or lies before 1970.

    An instant is ISO 8601 (in UTC when it names no zone) or an epoch number. The size of an epoch number decides whether it is
    taken as seconds, milliseconds, microseconds or nanoseconds.
    """
    if isinstance(value, str):
        text = value.strip()
        epoch_ms = _epoch_ms(int(text)) if len(text) in _DIGITS and text.isascii() and text.isdigit() else _iso_ms(text)
    elif isinstance(value, bool) or not isinstance(value, int | float):
        return None
    else:
        epoch_ms = _epoch_ms(value)
    return epoch_ms if epoch_ms is not None and epoch_ms >= 0 else None


def iso_instant(at_ms: float) -> str | None:
    """Return an instant as Onefold writes every instant, `2025-06-15T15:06:40.000Z`; None outside the years 1970 to 9999."""
    if not 0 <= at_ms < _YEAR_10000_MS:
        return None
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _epoch_ms(number: float) -> int | None:
    if not 0 <= number < 1e20:
        return None
    for limit, factor in ((1e11, 1_000), (1e14, 1), (1e17, 1e-3)):
        if number < limit:
            return int(number * factor)
    return int(number * 1e-6)


def _iso_ms(text: str) -> int | None:
    correction = timedelta()
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        plain, correction = _to_parsable_iso(text)
        try:
            at = datetime.fromisoformat(plain)
        except ValueError:
            return None
    return ((at if at.tzinfo is not None else at.replace(tzinfo=UTC)) - _EPOCH + correction) // _MILLISECOND


def _to_parsable_iso(text: str) -> tuple[str, timedelta]:
    """Rewrite forms of ISO 8601 that `fromisoformat` refuses, and return what must be added to the result.

    The forms are a small z, a day of the year, the hour 24 and the leap second. `2025-06-15T24:00Z` becomes `2025-06-15T00:00Z`
    and one day.
    """
    plain, correction = text.upper(), timedelta()
    if match := _DAY_OF_YEAR.match(plain):
        plain = f"{match[1]}-01-01{plain[match.end() :]}"
        correction += timedelta(days=int(match[2]) - 1)
    if match := _HOUR_24.search(plain):
        plain = f"{plain[: match.start()]}{match[1]}00{match[2]}"
        correction += timedelta(days=1)
    if match := _SECOND_60.search(plain):
        plain = f"{plain[: match.start(2)]}59{plain[match.end(2) :]}"
        correction += timedelta(seconds=1)
    return plain, correction
