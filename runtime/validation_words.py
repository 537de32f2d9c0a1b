"""What is wrong with a value, in our own words: a validator's text speaks of inputs and types, and may quote the value."""

from collections.abc import Mapping
from typing import Any

_WORDS = {
    "must be a whole number": ("int_parsing", "int_type", "int_from_float", "int_parsing_size"),
    "must be a number": ("float_parsing", "float_type", "finite_number"),
    "must be true or false": ("bool_parsing", "bool_type"),
    "must be at least {ge}": ("greater_than_equal",),
    "must be more than {gt}": ("greater_than",),
    "must be at most {le}": ("less_than_equal",),
    "must be less than {lt}": ("less_than",),
    "must be {expected}": ("literal_error", "enum"),
    "must fit the pattern {pattern}": ("string_pattern_mismatch",),
    "must be a text": ("string_type", "string_sub_type"),
    "must have a length of at least {min_length}": ("string_too_short", "too_short"),
    "must have a length of at most {max_length}": ("string_too_long", "too_long"),
    "must be a list": ("list_type", "tuple_type", "set_type"),
    "must be an object": ("dict_type", "model_type", "model_attributes_type", "mapping_type"),
    "is missing: add it": ("missing",),
    "is not known: leave it out, or correct its spelling": ("extra_forbidden",),
    "is not JSON": ("json_invalid",),
    "must be a path": ("path_type",),
    "{error}": ("value_error", "assertion_error"),
}
_WORDS_BY_TYPE = {error_type: words for words, error_types in _WORDS.items() for error_type in error_types}


def describe_error(error: Mapping[str, Any]) -> str:
    """Return what a value must be, for one error of pydantic's `errors()`. The value is never quoted."""
    words = _WORDS_BY_TYPE.get(str(error["type"]), "cannot be used: see its description")
    context = {"error": "cannot be used", **(error.get("ctx") or {})}
    return words.format_map({name: str(value).replace("'", "") for name, value in context.items()})
