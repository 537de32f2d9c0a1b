"""JSON values from outside: how they are decoded, and what they must not hold. Pure."""

import json
import math
from typing import Any, Final, NamedTuple

import orjson

from schemas.reasons import Reason

MAX_DEPTH: Final = 32
MAX_NAMES: Final = 1000
MAX_NAME_CHARS: Final = 256
_SMALLEST_INT: Final = -(2**63)
_LARGEST_INT: Final = 2**64 - 1
_LARGEST_EXACT_FLOAT: Final = 2**53
_LONG_RUN_OF_DIGITS: Final = b"0" * 19
"""The smallest integer beyond 64 bits has so many digits."""
_DIGITS_AS_ZEROS: Final = bytes(ord("0") if ord("0") <= byte <= ord("9") else ord(" ") for byte in range(256))
"""For `bytes.translate`, because it finds a long number ten times faster than a regular expression does."""


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


LONE_SURROGATE: Final = "text with a lone surrogate"
"""Such text has no UTF-8; bytes of a file that are none are read as it."""
_SURROGATE: Final = Violation(Reason.WRONG_TYPE, LONE_SURROGATE)
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
