"""Compare one value in SQL, as `comparisons.holds` does in Python. A value is an expression of JSON text, '' when missing. Pure."""

from collections.abc import Sequence
from typing import Any, Final

from domain.segments.comparisons import Comparison, fold_text, normalise_nfc, value_kind
from domain.segments.dates import parse_instant
from domain.segments.sql.query import QueryParameters, any_of
from domain.zone_offsets import zone_offsets

_ORDER_OPERATORS: Final = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}


def value_at_path(parameters: QueryParameters, document: str, path: str) -> str:
    """Return the value at a path of an object. A key spelled like the whole path goes first, even when its value is null."""
    whole_path, keys = parameters.text(path), path.split(".")
    whole_value = f"JSONExtractRaw({document}, {whole_path})"
    return (
        whole_value
        if len(keys) == 1
        else f"if(JSONHas({document}, {whole_path}), {whole_value}, {value_below(parameters, document, keys)})"
    )


def value_below(parameters: QueryParameters, document: str, keys: Sequence[str]) -> str:
    """Return the value that these keys lead to, each one inside the value of the one before."""
    return f"JSONExtractRaw({', '.join((document, *(parameters.text(key) for key in keys)))})" if keys else document


def comparison_sql(parameters: QueryParameters, comparison: Comparison, value: str) -> str:
    """Return the condition that a comparison holds for a value."""
    op, right_operand = comparison.op, comparison.value
    is_given = f"is_given({value})"
    if op == "exists":
        return is_given if right_operand is not False else f"NOT {is_given}"
    if op in ("before", "after"):
        edge = parameters.integer(parse_instant(right_operand, comparison.zone) or 0)
        return f"ifNull({instant_sql(parameters, value, comparison.zone)} {'<' if op == 'before' else '>'} {edge}, false)"
    if op == "in":
        return _equals_any(parameters, comparison, value, right_operand if isinstance(right_operand, tuple) else ())
    if op == "eq":
        return _equals_any(parameters, comparison, value, (right_operand,))
    if op == "ne":
        return f"({is_given} AND NOT {_equals_any(parameters, comparison, value, (right_operand,))})"
    if op in _ORDER_OPERATORS:
        return _compare_order(parameters, _ORDER_OPERATORS[op], value, right_operand)
    return _compare_text(parameters, comparison, value)


def instant_sql(parameters: QueryParameters, value: str, zone: str | None) -> str:
    """Return the instant of a value, as `dates.parse_instant` reads it; NULL when it is no date."""
    if zone is None:
        return f"instant_of({value})"
    starts_ms, offsets_ms = zone_offsets(zone)
    return f"instant_in({value}, {parameters.integers(starts_ms)}, {parameters.integers(offsets_ms)})"


def _normalised_text(comparison: Comparison, value: str) -> str:
    return f"folded({value})" if comparison.fold else f"text_of({value})"


def _equals_any(parameters: QueryParameters, comparison: Comparison, value: str, options: Sequence[Any]) -> str:
    """Return the condition that a value equals one of several, of its own kind."""
    normalise_text = fold_text if comparison.fold else normalise_nfc
    texts = [normalise_text(option) for option in options if value_kind(option) == "text"]
    numbers = [float(option) for option in options if value_kind(option) == "number"]
    alternatives = [f"({value} = '{str(option).lower()}')" for option in options if value_kind(option) == "boolean"]
    if texts:
        alternatives.append(f"(is_text({value}) AND {parameters.is_one_of(_normalised_text(comparison, value), texts)})")
    if numbers:
        alternatives.append(f"(is_number({value}) AND has({parameters.numbers(numbers)}, number_of({value})))")
    return any_of(alternatives)


def _compare_order(parameters: QueryParameters, operator: str, value: str, right_operand: Any) -> str:
    match value_kind(right_operand):
        case "text":
            return f"(is_text({value}) AND text_of({value}) {operator} {parameters.text(normalise_nfc(right_operand))})"
        case "number":
            return f"(is_number({value}) AND number_of({value}) {operator} {parameters.number(right_operand)})"
        case _:
            return "false"


def _compare_text(parameters: QueryParameters, comparison: Comparison, value: str) -> str:
    """Return the condition for `contains` and `starts_with`; `contains` is also true for a list that has an equal item."""
    right_operand = comparison.value
    alternatives = []
    if isinstance(right_operand, str):
        search_text = parameters.text((fold_text if comparison.fold else normalise_nfc)(right_operand))
        value_text = _normalised_text(comparison, value)
        text_matches = (
            f"position({value_text}, {search_text}) > 0"
            if comparison.op == "contains"
            else f"startsWith({value_text}, {search_text})"
        )
        alternatives.append(f"(is_text({value}) AND {text_matches})")
    if comparison.op == "contains":
        alternatives.append(
            f"arrayExists(item -> {_equals_any(parameters, comparison, 'item', (right_operand,))}, JSONExtractArrayRaw({value}))"
        )
    return any_of(alternatives)
