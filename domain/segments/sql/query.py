"""A statement and its parameters. No value and no name of a user's is ever part of a statement's text."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

MAX_VALUES_PER_PARAMETER: Final = 1_000
"""How many values one parameter takes: a server refuses a field of more than 128 KiB."""


@dataclass(frozen=True, slots=True)
class SqlQuery:
    """A read and its parameters, which ClickHouse binds as `{name:Type}`."""

    sql: str
    parameters: dict[str, Any]


class QueryParameters:
    """Collects values and gives the placeholders that stand for them; equal values share one."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self._names: dict[tuple[str, str], str] = {}

    def _bind(self, sql_type: str, value: Any) -> str:
        key = (sql_type, repr(value))
        name = self._names.setdefault(key, f"p{len(self._names)}")
        self.values[name] = value
        return f"{{{name}:{sql_type}}}"

    def text(self, value: str) -> str:
        """A String."""
        return self._bind("String", value)

    def integer(self, value: int) -> str:
        """An Int64."""
        return self._bind("Int64", value)

    def amount(self, value: int) -> str:
        """An Int128, for amounts in millionths; what no sum reaches is cut off."""
        return self._bind("Int128", min(max(value, -_MAX_AMOUNT), _MAX_AMOUNT))

    def number(self, value: float) -> str:
        """A Float64, by way of JSON: so it is read as exactly as the values that it is compared with."""
        return f"JSONExtractFloat({self.text(json.dumps(float(value)))})"

    def numbers(self, values: Iterable[float]) -> str:
        """An Array(Float64), in the same way."""
        return f"JSONExtract({self.text(json.dumps([float(value) for value in values]))}, 'Array(Float64)')"

    def is_one_of(self, expression: str, values: Iterable[str]) -> str:
        """Whether a String is among these."""
        ordered = sorted(set(values))
        parts = [ordered[start : start + MAX_VALUES_PER_PARAMETER] for start in range(0, len(ordered), MAX_VALUES_PER_PARAMETER)]
        return any_of(f"{expression} IN {self._bind('Array(String)', part)}" for part in parts)


_MAX_AMOUNT: Final = 10**36


def any_of(conditions: Iterable[str]) -> str:
    """Conditions joined by OR, in brackets."""
    distinct = list(dict.fromkeys(conditions))
    return "false" if not distinct else distinct[0] if len(distinct) == 1 else f"({' OR '.join(distinct)})"


def all_of(conditions: Iterable[str]) -> str:
    """Conditions joined by AND, in brackets."""
    distinct = [condition for condition in dict.fromkeys(conditions) if condition != "true"]
    return "true" if not distinct else distinct[0] if len(distinct) == 1 else f"({' AND '.join(distinct)})"
