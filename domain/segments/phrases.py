"""Comparisons, windows and values in words, for explanations. Pure."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from domain.fields import format_duration
from domain.segments.comparisons import Comparison, PropertyComparison
from domain.segments.registers import Register

OPERATOR_TEXT: Final[Mapping[str, str]] = {
    "eq": "=", "ne": "≠", "lt": "<", "lte": "≤", "gt": ">", "gte": "≥", "in": "in", "contains": "contains",
    "starts_with": "starts with", "before": "before", "after": "after", "within_last": "within the last",
    "within_next": "within the next", "more_than_ago": "more than this ago:", "more_than_ahead": "more than this ahead:",
}  # fmt: skip


def format_value(value: Any) -> str:
    """Return a JSON value as people read it: text without quotes, lists with commas, `none` for null and for an empty list."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return ", ".join(format_value(item) for item in value) or "none"
    if isinstance(value, dict):
        return " ".join(f"{name} {format_value(item)}" for name, item in value.items())
    return "none" if value is None else json.dumps(value, ensure_ascii=False)


def comparison_text(comparison: Comparison) -> str:
    """Return a comparison in words: `≥ 100`, `in Hà Nội, Huế (without regard to case and accents)`, `is missing`."""
    if comparison.op == "exists":
        return "is missing" if comparison.value is False else "is there"
    folded_text = " (without regard to case and accents)" if comparison.fold else ""
    return f"{OPERATOR_TEXT[comparison.op]} {format_value(comparison.value)}{folded_text}"


def comparisons_text(comparisons: Iterable[PropertyComparison]) -> str:
    """Return conditions on properties in words, with commas between them."""
    return ", ".join(f"{comparison.prop} {comparison_text(comparison)}" for comparison in comparisons)


def window_text(within: int | None) -> str:
    """Return ` in the last 7d`, to be put behind an event; empty without a window."""
    return "" if within is None else f" in the last {format_duration(within)}"


def options_text(values: Iterable[object]) -> str:
    """Return `a or b or c`."""
    return " or ".join(str(value) for value in values)


def exactness_text(register: Register, within: int | None, distinct_text: str = "different values") -> str:
    """Return up to where an answer from this register is exact: `at most 300 such events are within 7d`.

    A register has room for one entry more than it is exact for: the last one only shows that there were too many.
    """
    counted_text = "such events" if register.form == "newest" else distinct_text
    end_text = "have come" if within is None else f"are within {format_duration(within)}"
    return f"at most {register.capacity - 1} {counted_text} {end_text}"
