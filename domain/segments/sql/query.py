"""A statement and its parameters. Whatever a user wrote is a bound parameter, never part of the statement's text. Pure."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

MAX_VALUES_PER_PARAMETER: Final = 1_000
"""How many values one parameter takes: ClickHouse refuses an HTTP field of more than 128 KiB."""


@dataclass(frozen=True, slots=True)
class SqlQuery:
    """A SELECT statement and its parameters, which ClickHouse binds to `{name:Type}`."""

    sql: str
    parameters: dict[str, Any]


class QueryParameters:
    """Collects the values of a statement and returns the placeholders for them; equal values share one."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self._names: dict[tuple[str, str], str] = {}

    def _bind(self, sql_type: str, value: Any) -> str:
        key = (sql_type, repr(value))
        name = self._names.setdefault(key, f"p{len(self._names)}")
        self.values[name] = value
        return f"{{{name}:{sql_type}}}"

    def text(self, value: str) -> str:
        """Return the placeholder of a String."""
        return self._bind("String", value)

    def integer(self, value: int) -> str:
        """Return the placeholder of an Int64."""
        return self._bind("Int64", value)

    def integers(self, values: Iterable[int]) -> str:
        """Return the placeholder of an Array(Int64)."""
        return self._bind("Array(Int64)", list(values))

    def amount(self, value: int) -> str:
        """Return the placeholder of an Int128, for amounts in millionths; larger ones than any sum can reach are cut to 10^36."""
        return self._bind("Int128", min(max(value, -_MAX_AMOUNT), _MAX_AMOUNT))

    def number(self, value: float) -> str:
        """Return an expression of a Float64. It is read from JSON, so it is rounded like the values that are compared with it."""
        return f"JSONExtractFloat({self.text(json.dumps(float(value)))})"

    def numbers(self, values: Iterable[float]) -> str:
        """Return an expression of an Array(Float64), read in the same way."""
        return f"JSONExtract({self.text(json.dumps([float(value) for value in values]))}, 'Array(Float64)')"

    def is_one_of(self, expression: str, values: Iterable[str]) -> str:
        """Return the condition that a String is one of these values."""
        ordered = sorted(set(values))
        parts = [ordered[start : start + MAX_VALUES_PER_PARAMETER] for start in range(0, len(ordered), MAX_VALUES_PER_PARAMETER)]
        return any_of(f"{expression} IN {self._bind('Array(String)', part)}" for part in parts)


_MAX_AMOUNT: Final = 10**36


def any_of(conditions: Iterable[str]) -> str:
    """Return the conditions joined by OR, in brackets; `false` without any."""
    distinct = list(dict.fromkeys(conditions))
    return "false" if not distinct else distinct[0] if len(distinct) == 1 else f"({' OR '.join(distinct)})"


def all_of(conditions: Iterable[str]) -> str:
    """Return the conditions joined by AND, in brackets; `true` without any."""
    distinct = [condition for condition in dict.fromkeys(conditions) if condition != "true"]
    return "true" if not distinct else distinct[0] if len(distinct) == 1 else f"({' AND '.join(distinct)})"
