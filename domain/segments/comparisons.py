"""Compare one value: no coercion between kinds, text in NFC, a missing value makes every comparison false. Pure.

`sql/comparisons.py` and `sql/functions.py` write the same rules for ClickHouse ("Streaming equals SQL"). That is why
numbers are compared as 64-bit floats: ClickHouse reads them so from JSON, and Python's exact integers would differ
above 2^53.
"""

import unicodedata
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, Self

from pydantic import Field, StrictBool, model_validator

from domain.fields import DottedPath, Scalar, StrictModel, ZoneName
from domain.letters import PLAIN_D, unicode_form
from domain.segments.dates import parse_instant
from schemas.instants import NEVER

ComparisonOp = Literal["eq", "ne", "lt", "lte", "gt", "gte", "in", "contains", "starts_with", "exists", "before", "after"]
RELATIVE_OPS: Final = ("within_last", "within_next", "more_than_ago", "more_than_ahead")
DATE_OPS: Final = ("before", "after")
TEXT_OPS: Final = ("eq", "ne", "in", "contains", "starts_with")
MAX_OPTIONS: Final = 1_000
ZONE_FIELD: Final = Field(default=None, exclude_if=lambda zone: zone is None)
"""Without a zone it is left out of dumps, so that the hashes of definitions are those of versions that knew no zone."""


class Comparison(StrictModel):
    """A comparison of one value. `value` is a list for `in`, absent for `exists`, a date for `before` and `after`, else a scalar.

    `fold` compares text without regard to case and accents. `zone` is the time zone of dates that name none, on both sides.
    """

    op: ComparisonOp = "eq"
    value: Scalar | tuple[Scalar, ...] | None = Field(default=None, union_mode="left_to_right")
    fold: StrictBool = False
    zone: ZoneName | None = ZONE_FIELD

    @model_validator(mode="after")
    def _value_fits_op(self) -> Self:
        op, value = self.op, self.value
        if op == "exists":
            if value is not None and not isinstance(value, bool):
                raise ValueError("`exists` takes no value, or true or false")
        elif op == "in":
            if not isinstance(value, tuple) or not 1 <= len(value) <= MAX_OPTIONS:
                raise ValueError(f"`in` takes a list of 1 to {MAX_OPTIONS} values")
        elif op in ("before", "after"):
            if parse_instant(value, self.zone) is None:
                raise ValueError(f"`{op}` takes a date from 1900 to 2299: 2026-11-22, or 2026-11-22T09:00:00+07:00")
        elif value is None or isinstance(value, tuple):
            raise ValueError(f"`{op}` takes one value: a string, a number or a boolean")
        if self.fold and op not in TEXT_OPS:
            raise ValueError(f"`fold` goes with {', '.join(TEXT_OPS)}")
        if self.zone is not None and op not in DATE_OPS:
            raise ValueError(f"`zone` goes with {', '.join(DATE_OPS)}, and with dates relative to now")
        return self


class PropertyComparison(Comparison):
    """A condition on a property of the event; `prop` may be a dotted path."""

    prop: DottedPath


def lookup(values: Mapping[str, Any], path: str) -> Any:
    """Return the value at a dotted path; None when there is none. A key that is spelled like the whole path goes first."""
    if path in values:
        return values[path]
    current: Any = values
    for part in path.split("."):
        if not isinstance(current, Mapping) or part not in current:
            return None
        current = current[part]
    return current


def holds(comparison: Comparison, value: Any) -> bool:
    """Return whether a comparison holds for a value.

    A missing value makes it false, except `exists: false`. A value of another kind makes it false, except `ne`.
    """
    op, right_operand = comparison.op, comparison.value
    if op == "exists":
        return (value is not None) is (right_operand is not False)
    if value is None:
        return False
    normalise_text = fold_text if comparison.fold else normalise_nfc
    left_operand = normalise_text(value)
    if op == "in":
        return isinstance(right_operand, tuple) and any(equals(left_operand, normalise_text(option)) for option in right_operand)
    if op in ("before", "after"):
        left_ms, right_ms = parse_instant(value, comparison.zone), parse_instant(right_operand, comparison.zone)
        return left_ms is not None and right_ms is not None and (left_ms < right_ms if op == "before" else left_ms > right_ms)
    right_operand = normalise_text(right_operand)
    if op in _TEXT_OPERATORS:
        if op == "contains" and isinstance(left_operand, list):
            return any(equals(normalise_text(item), right_operand) for item in left_operand)
        return isinstance(left_operand, str) and isinstance(right_operand, str) and _TEXT_OPERATORS[op](left_operand, right_operand)
    if op == "eq":
        return equals(left_operand, right_operand)
    if op == "ne":
        return not equals(left_operand, right_operand)
    kind = value_kind(left_operand)
    if kind != value_kind(right_operand) or kind not in ("number", "text"):
        return False
    return (
        _ORDER_OPERATORS[op](float(left_operand), float(right_operand))
        if kind == "number"
        else _ORDER_OPERATORS[op](left_operand.encode(), right_operand.encode())
    )


_TEXT_OPERATORS: Final[dict[str, Callable[[str, str], bool]]] = {
    "contains": lambda a, b: b in a,
    "starts_with": lambda a, b: a.startswith(b),
}
_ORDER_OPERATORS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "lt": lambda a, b: bool(a < b),
    "lte": lambda a, b: bool(a <= b),
    "gt": lambda a, b: bool(a > b),
    "gte": lambda a, b: bool(a >= b),
}


def normalise_nfc(value: Any) -> Any:
    """Return text in NFC, so that it does not matter how a keyboard composes `ệ`; other values unchanged."""
    return unicode_form("NFC", value) if isinstance(value, str) else value


def fold_text(value: Any) -> Any:
    """Return text without case and accents, with đ, and the letters that are written for it, as d; other values unchanged."""
    if not isinstance(value, str):
        return value
    decomposed = unicode_form("NFD", value)
    without_accents = "".join(letter for letter in decomposed if unicodedata.category(letter) != "Mn")
    return without_accents.translate(PLAIN_D).lower()


def value_kind(value: Any) -> Literal["boolean", "number", "text", "other"]:
    """Return the kind of a JSON value. A boolean is asked for first: in Python it is also an integer."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return "text" if isinstance(value, str) else "other"


def equals(left_operand: Any, right_operand: Any) -> bool:
    """Return whether two values are of one kind and equal. Lists and objects equal nothing."""
    kind = value_kind(left_operand)
    if kind != value_kind(right_operand) or kind == "other":
        return False
    return float(left_operand) == float(right_operand) if kind == "number" else bool(left_operand == right_operand)


def evaluate_relative_date(op: str, at_ms: int, length_ms: int, now_ms: int) -> tuple[bool, int]:
    """Return whether a relative date holds at `now_ms`, and the next instant at which that changes by time (NEVER if it does not).

    Windows are half open, as for events: `within_last` is (now - length, now], `within_next` is (now, now + length].
    """
    if op == "within_last":
        edges, is_inside = (at_ms, at_ms + length_ms), at_ms <= now_ms < at_ms + length_ms
    elif op == "within_next":
        edges, is_inside = (at_ms - length_ms, at_ms), at_ms - length_ms <= now_ms < at_ms
    elif op == "more_than_ago":
        edges, is_inside = (at_ms + length_ms, NEVER), now_ms >= at_ms + length_ms
    else:
        edges, is_inside = (at_ms - length_ms, NEVER), now_ms < at_ms - length_ms
    return is_inside, min((edge for edge in edges if edge > now_ms), default=NEVER)
