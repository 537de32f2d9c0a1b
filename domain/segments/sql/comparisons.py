"""Comparing one value in SQL, as `conditions.holds` does in Python. A value is an expression of JSON text. Pure."""

from collections.abc import Sequence
from typing import Any, Final

from domain.segments.comparisons import (Condition, TraitLeaf, fold, instant_of, kind_of, nfc)
from domain.segments.sql.query import Parameters, all_of, any_of

_OPERATORS: Final = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}


def at_path(parameters: Parameters, document: str, path: str) -> str:
    """The value at a path of an object, the whole path as a key first, even when its value is null."""
    whole, parts = parameters.text(path), path.split(".")
    found = f"JSONExtractRaw({document}, {whole})"
    return found if len(parts) == 1 else f"if(JSONHas({document}, {whole}), {found}, {below(parameters, document, parts)})"


def below(parameters: Parameters, document: str, parts: Sequence[str]) -> str:
    """The value that these keys lead to, one below the other."""
    return f"JSONExtractRaw({', '.join((document, *(parameters.text(part) for part in parts)))})" if parts else document


def holds(parameters: Parameters, condition: Condition, value: str) -> str:
    """Whether a condition holds of a value."""
    op, right = condition.op, condition.value
    given = f"is_given({value})"
    if op == "exists":
        return given if right is not False else f"NOT {given}"
    if op in ("before", "after"):
        edge = parameters.whole(instant_of(right) or 0)
        return f"ifNull(instant_of({value}) {'<' if op == 'before' else '>'} {edge}, false)"
    if op == "in":
        return _one_of(parameters, condition, value, right if isinstance(right, tuple) else ())
    if op == "eq":
        return _one_of(parameters, condition, value, (right,))
    if op == "ne":
        return f"({given} AND NOT {_one_of(parameters, condition, value, (right,))})"
    if op in _OPERATORS:
        return _ordered(parameters, _OPERATORS[op], value, right)
    return _on_text(parameters, condition, value)


def _text(condition: Condition, value: str) -> str:
    return f"folded({value})" if condition.fold else f"text_of({value})"


def _one_of(parameters: Parameters, condition: Condition, value: str, options: Sequence[Any]) -> str:
    """Whether a value equals one of several, of its own kind."""
    spelled = fold if condition.fold else nfc
    texts = [spelled(option) for option in options if kind_of(option) == "text"]
    numbers = [float(option) for option in options if kind_of(option) == "number"]
    found = [f"({value} = '{str(option).lower()}')" for option in options if kind_of(option) == "boolean"]
    if texts:
        found.append(f"(is_text({value}) AND {parameters.is_one_of(_text(condition, value), texts)})")
    if numbers:
        found.append(f"(is_number({value}) AND has({parameters.numbers(numbers)}, number_of({value})))")
    return any_of(found)


def _ordered(parameters: Parameters, operator: str, value: str, right: Any) -> str:
    match kind_of(right):
        case "text":
            return f"(is_text({value}) AND text_of({value}) {operator} {parameters.text(nfc(right))})"
        case "number":
            return f"(is_number({value}) AND number_of({value}) {operator} {parameters.number(right)})"
        case _:
            return "false"


def _on_text(parameters: Parameters, condition: Condition, value: str) -> str:
    """`contains` and `starts_with`; `contains` also of a list that has an equal item."""
    right = condition.value
    found = []
    if isinstance(right, str):
        spelled = parameters.text((fold if condition.fold else nfc)(right))
        left = _text(condition, value)
        fits = f"position({left}, {spelled}) > 0" if condition.op == "contains" else f"startsWith({left}, {spelled})"
        found.append(f"(is_text({value}) AND {fits})")
    if condition.op == "contains":
        found.append(f"arrayExists(item -> {_one_of(parameters, condition, 'item', (right,))}, JSONExtractArrayRaw({value}))")
    return any_of(found)


def trait_holds(parameters: Parameters, leaf: TraitLeaf, value: str, at_ms: int) -> str:
    """Whether what a leaf asks of a trait holds of its value."""
    length_ms = leaf.relative_ms
    if length_ms is None:
        return holds(parameters, leaf.condition, value)
    found, now, length = f"instant_of({value})", parameters.whole(at_ms), parameters.whole(length_ms)
    inside = {
        "within_last": [f"{found} <= {now}", f"{now} < {found} + {length}"],
        "within_next": [f"{found} - {length} <= {now}", f"{now} < {found}"],
        "more_than_ago": [f"{now} >= {found} + {length}"],
        "more_than_ahead": [f"{now} < {found} - {length}"],
    }[leaf.op]
    return f"ifNull({all_of(inside)}, false)"
