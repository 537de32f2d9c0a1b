"""Comparing one value: no coercion between kinds, text in NFC, a missing value makes every comparison false. Pure.

Numbers are compared as 64-bit floats, as ClickHouse reads them from JSON.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import date
from functools import cached_property
from typing import Any, Final, Literal, Self

from pydantic import Field, StrictBool, model_validator

from domain.fields import (Duration, Path, Scalar, Strict, duration_ms)

Compare = Literal["eq", "ne", "lt", "lte", "gt", "gte", "in", "contains", "starts_with", "exists", "before", "after"]
Relative = Literal["within_last", "within_next", "more_than_ago", "more_than_ahead"]
TEXT_OPS: Final = ("eq", "ne", "in", "contains", "starts_with")
MAX_OPTIONS: Final = 1_000
NEVER: Final = 1 << 62
"""An instant that does not come."""

DAY_MS: Final = 86_400_000
INSTANT: Final = (
    r"^([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[Tt ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,9}))?)?(?:[Zz]|([+-])([0-9]{2}):([0-9]{2})))?$"
)
"""A date, or a date and a time with its zone. Groups: date, hours, minutes, seconds, fraction; the zone's sign, hours, minutes."""
_INSTANT: Final = re.compile(INSTANT)
FIRST_YEAR, LAST_YEAR = 1900, 2299
"""The years that ClickHouse's Date32 knows."""


class Condition(Strict):
    """A comparison of one value. `value` is a list for `in`, absent for `exists`, a date for `before` and `after`, else a scalar.

    `fold` compares text without regard to case and accents.
    """

    op: Compare = "eq"
    value: Scalar | tuple[Scalar, ...] | None = Field(default=None, union_mode="left_to_right")
    fold: StrictBool = False

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
            if instant_of(value) is None:
                raise ValueError(f"`{op}` takes a date: 2026-11-22, or 2026-11-22T09:00:00+07:00")
        elif value is None or isinstance(value, tuple):
            raise ValueError(f"`{op}` takes one value: a string, a number or a boolean")
        if self.fold and op not in TEXT_OPS:
            raise ValueError(f"`fold` goes with {', '.join(TEXT_OPS)}")
        return self


class PropertyCondition(Condition):
    """A condition on a property of the event; `prop` may be a dotted path."""

    prop: Path


class TraitLeaf(Strict):
    """A condition on a trait of the profile; `path` may be dotted, and `computed.NAME` is a computed trait.

    Beside the comparisons: `within_last`, `within_next`, `more_than_ago`, `more_than_ahead` with a duration, of a trait that is a
    date: `within_last: 7d` is (now - 7d, now], `within_next: 7d` is (now, now + 7d].
    """

    path: Path
    op: Compare | Relative = "eq"
    value: Scalar | tuple[Scalar, ...] | None = Field(default=None, union_mode="left_to_right")
    fold: StrictBool = False

    @model_validator(mode="after")
    def _value_fits_op(self) -> Self:
        if self.op in RELATIVE_OPS:
            duration_ms(self.value)
            if self.fold:
                raise ValueError(f"`fold` goes with {', '.join(TEXT_OPS)}")
        else:
            _ = self.condition
        return self

    @cached_property
    def relative_ms(self) -> int | None:
        """The length of a relative date, None for a plain comparison."""
        return duration_ms(self.value) if self.op in RELATIVE_OPS else None

    @cached_property
    def condition(self) -> Condition:
        """The plain comparison."""
        return Condition.model_validate({"op": self.op, "value": self.value, "fold": self.fold})


RELATIVE_OPS: Final = ("within_last", "within_next", "more_than_ago", "more_than_ahead")

__all__ = ["Compare", "Condition", "Duration", "PropertyCondition", "Relative", "TraitLeaf"]


def lookup(values: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path, the whole path as a key first; None when there is none."""
    if path in values:
        return values[path]
    found: Any = values
    for part in path.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return None
        found = found[part]
    return found


def holds(condition: Condition, value: Any) -> bool:
    """Whether a condition holds of a value; a missing value or one of another kind makes it false (but `exists: false`)."""
    op, right = condition.op, condition.value
    if op == "exists":
        return (value is not None) is (right is not False)
    if value is None:
        return False
    text = fold if condition.fold else nfc
    left = text(value)
    if op == "in":
        return isinstance(right, tuple) and any(equal(left, text(option)) for option in right)
    if op in ("before", "after"):
        mine, theirs = instant_of(value), instant_of(right)
        return mine is not None and theirs is not None and (mine < theirs if op == "before" else mine > theirs)
    right = text(right)
    if op in _ON_TEXT:
        if op == "contains" and isinstance(left, list):
            return any(equal(text(item), right) for item in left)
        return isinstance(left, str) and isinstance(right, str) and _ON_TEXT[op](left, right)
    if op == "eq":
        return equal(left, right)
    if op == "ne":
        return not equal(left, right)
    kind = kind_of(left)
    if kind != kind_of(right) or kind not in ("number", "text"):
        return False
    return _ON_ORDER[op](float(left), float(right)) if kind == "number" else _ON_ORDER[op](left.encode(), right.encode())


_ON_TEXT: Final[dict[str, Callable[[str, str], bool]]] = {
    "contains": lambda a, b: b in a,
    "starts_with": lambda a, b: a.startswith(b),
}
_ON_ORDER: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "lt": lambda a, b: bool(a < b),
    "lte": lambda a, b: bool(a <= b),
    "gt": lambda a, b: bool(a > b),
    "gte": lambda a, b: bool(a >= b),
}


def nfc(value: Any) -> Any:
    """Text in NFC; other values as they are."""
    return unicodedata.normalize("NFC", value) if isinstance(value, str) else value


def fold(value: Any) -> Any:
    """Text without case and accents, đ as d; other values as they are."""
    if not isinstance(value, str):
        return value
    decomposed = unicodedata.normalize("NFD", value)
    bare = "".join(letter for letter in decomposed if unicodedata.category(letter) != "Mn")
    return bare.replace("đ", "d").replace("Đ", "d").lower()


def kind_of(value: Any) -> Literal["boolean", "number", "text", "other"]:
    """What a JSON value is, as far as comparisons go."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return "text" if isinstance(value, str) else "other"


def equal(left: Any, right: Any) -> bool:
    """Whether two values are of one kind and the same. Lists and objects equal nothing."""
    kind = kind_of(left)
    if kind != kind_of(right) or kind == "other":
        return False
    return float(left) == float(right) if kind == "number" else bool(left == right)


def instant_of(value: Any) -> int | None:
    """The instant of a date (its midnight, UTC) or of a date and time with its zone, in ms; None for anything else."""
    match = _INSTANT.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    day, hours, minutes, seconds, fraction, sign, zone_hours, zone_minutes = match.groups(default="")
    try:
        days = date.fromisoformat(day)
    except ValueError:
        return None
    clock = (int(hours or 0), int(minutes or 0), int(seconds or 0), int(zone_hours or 0), int(zone_minutes or 0))
    if not FIRST_YEAR <= days.year <= LAST_YEAR or any(n > most for n, most in zip(clock, (23, 59, 59, 23, 59), strict=True)):
        return None
    shift = (clock[3] * 60 + clock[4]) * 60_000 * (-1 if sign == "-" else 1)
    of_day = ((clock[0] * 60 + clock[1]) * 60 + clock[2]) * 1_000 + int(f"{fraction}000"[:3])
    return (days.toordinal() - _EPOCH) * DAY_MS + of_day - shift


_EPOCH: Final = date(1970, 1, 1).toordinal()


def relative(op: str, at_ms: int, length_ms: int, now_ms: int) -> tuple[bool, int]:
    """Whether a relative date holds at `now_ms`, and the next instant at which that changes by itself (NEVER)."""
    if op == "within_last":
        edges, inside = (at_ms, at_ms + length_ms), at_ms <= now_ms < at_ms + length_ms
    elif op == "within_next":
        edges, inside = (at_ms - length_ms, at_ms), at_ms - length_ms <= now_ms < at_ms
    elif op == "more_than_ago":
        edges, inside = (at_ms + length_ms, NEVER), now_ms >= at_ms + length_ms
    else:
        edges, inside = (at_ms - length_ms, NEVER), now_ms < at_ms - length_ms
    return inside, min((edge for edge in edges if edge > now_ms), default=NEVER)
