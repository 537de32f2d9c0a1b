"""Turn pydantic's errors into messages in the terms of a document's author: the path as it was written, and the cure. Pure.

Pydantic reports unions, tags and types. Here each error is located in the document, several errors of one path become one message,
and errors that only follow from others are left out.

Example: for `where: {did: {evnt: X}}` pydantic reports a missing `event` and an extra `evnt`, both inside a tagged union. The
message is one line: "spec.where.did.evnt: unknown key: did you mean `event`?".
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final

from domain.definitions.model_shapes import Shape, allowed_keys, branches_labelled, shape_below
from domain.fields import NAME_PATTERN
from domain.segments.language import KEYWORDS

DocumentPath = tuple[str | int, ...]
MAX_MESSAGES: Final = 12
MAX_KEY_CHARS: Final = 60
_KEYWORD_SYNONYMS: Final = {"and": "all", "or": "any", "none": "not", "event": "did", "has_done": "did", "has_not_done": "did_not"}

_EXPECTED_BY_ERROR_TYPE: Final = {
    "string_type": "text", "bool_type": "true or false", "bool_parsing": "true or false", "int_type": "a whole number",
    "int_parsing": "a whole number", "int_from_float": "a whole number", "float_type": "a number", "float_parsing": "a number",
    "finite_number": "a finite number", "tuple_type": "a list", "list_type": "a list", "dict_type": "keys and values",
    "model_type": "keys and values", "model_attributes_type": "keys and values", "none_required": "nothing",
    "decimal_type": "a number", "decimal_parsing": "a number", "timezone_aware": "a date and time with its zone",
}  # fmt: skip
"""What is expected, by pydantic's name of the error. All other errors concern a value of the right type."""
_EXPECTATION_ORDER: Final = ("text", "a whole number", "a number", "a finite number", "true or false")


@dataclass(slots=True)
class _PathErrors:
    """All errors of one path. `shape` is what the document may have there, or beside an unknown or missing key."""

    shape: Shape
    expected: list[str] = field(default_factory=list)
    options: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    is_missing: bool = False
    is_unknown_key: bool = False
    is_not_a_condition: bool = False

    @property
    def has_errors(self) -> bool:
        """Whether a message is left for this path."""
        return bool(
            self.expected or self.options or self.messages or self.is_missing or self.is_unknown_key or self.is_not_a_condition
        )


def error_messages(document: Any, errors: Iterable[Mapping[str, Any]], root_shape: Shape) -> list[str]:
    """Return one line for each error, `path: problem and cure`, in the document's order. `root_shape` is its expected shape."""
    errors_by_path: dict[DocumentPath, _PathErrors] = {}
    for error in errors:
        path, shape = _locate_error(document, error, root_shape)
        path_errors = errors_by_path.setdefault(path, _PathErrors(shape))
        _record_error(path_errors, error, _value_at(document, path))
    _drop_consequential_errors(errors_by_path)
    lines = [
        f"{_path_text(path)}: {_message_for(document, path, path_errors)}"
        for path, path_errors in sorted(errors_by_path.items(), key=lambda item: _document_position(document, item[0]))
        if path_errors.has_errors
    ]
    omitted_count = len(lines) - MAX_MESSAGES
    return lines if omitted_count <= 0 else [*lines[:MAX_MESSAGES], f"and {omitted_count} more"]


def closest_words(word: str, candidates: Iterable[str]) -> list[str]:
    """Return the candidates that are most similar to a word, at most three."""
    return get_close_matches(word[:MAX_KEY_CHARS], sorted(candidates), n=3, cutoff=0.6)


def did_you_mean(words: Sequence[str]) -> str:
    """Return `did you mean a or b?`, empty without words."""
    return f"did you mean {' or '.join(f'`{word}`' for word in words)}?" if words else ""


def _locate_error(document: Any, error: Mapping[str, Any], root_shape: Shape) -> tuple[DocumentPath, Shape]:
    """Return the path of an error without pydantic's labels of unions, and the shape there or beside its last key."""
    remaining_keys = list(error["loc"])[1:]
    concerns_parent = error["type"] in ("missing", "extra_forbidden", "union_tag_invalid", "union_tag_not_found")
    tag_keys = 0
    if error["type"].startswith("union_tag"):
        remaining_keys.append(error["ctx"]["discriminator"].strip("'"))
        tag_keys = 1
    path: list[str | int] = []
    current, shape, parent_shape = document, root_shape, root_shape
    while remaining_keys:
        if len(shape) > 1 and len(remaining_keys) > tag_keys:
            shape = branches_labelled(shape, remaining_keys.pop(0))
            if not remaining_keys:
                break
        key = remaining_keys.pop(0)
        exists = (isinstance(current, Mapping) and key in current) or (
            isinstance(current, list | tuple) and isinstance(key, int) and key < len(current)
        )
        if not exists and (remaining_keys or not concerns_parent or isinstance(key, int)):
            break
        path.append(key)
        current, parent_shape, shape = current[key] if exists else None, shape, shape_below(shape, key)
    return tuple(path), parent_shape if concerns_parent else shape


def _value_at(document: Any, path: DocumentPath) -> Any:
    for key in path:
        if isinstance(document, Mapping):
            document = document.get(key)
        elif isinstance(document, list | tuple) and isinstance(key, int):
            document = document[key]
    return document


def _record_error(path_errors: _PathErrors, error: Mapping[str, Any], value: Any) -> None:
    error_type, context = error["type"], error.get("ctx") or {}
    if error_type in _EXPECTED_BY_ERROR_TYPE:
        path_errors.expected.append(_EXPECTED_BY_ERROR_TYPE[error_type])
    elif error_type in ("literal_error", "enum", "union_tag_invalid"):
        expected_text = str(context["expected_tags" if error_type == "union_tag_invalid" else "expected"])
        path_errors.options += [option.strip("' ") for option in expected_text.replace("' or '", "', '").split(", ")]
        path_errors.options = ["true" if option == "True" else option for option in path_errors.options]
    elif error_type == "missing" and isinstance(value, list | tuple):
        path_errors.messages.append("has too few entries")
    elif error_type in ("missing", "union_tag_not_found"):
        path_errors.is_missing = True
    elif error_type == "extra_forbidden":
        path_errors.is_unknown_key = True
    elif error_type == "too_short" and isinstance(value, list | tuple | dict) and len(value) >= context["min_length"]:
        # Pydantic counted only the valid items, so the list itself is long enough.
        return
    elif error_type == "unknown_node":
        path_errors.is_not_a_condition = True
    else:
        path_errors.messages.append(_constraint_message(error_type, context))


def _constraint_message(error_type: str, context: Mapping[str, Any]) -> str:
    """Return the message for a value that has the right type and violates a constraint."""
    match error_type:
        case "value_error" | "assertion_error":
            return str(context["error"])
        case "too_short":
            return f"needs at least {context['min_length']}"
        case "too_long":
            return f"has more than {context['max_length']}: split it"
        case "string_too_short":
            return "must not be empty" if context["min_length"] == 1 else f"needs at least {context['min_length']} characters"
        case "string_too_long":
            return f"is longer than {context['max_length']} characters: shorten it"
        case "greater_than_equal" | "greater_than":
            return f"must be {'at least' if 'ge' in context else 'more than'} {_number_text(context.get('ge', context.get('gt')))}"
        case "less_than_equal" | "less_than":
            return f"must be {'at most' if 'le' in context else 'less than'} {_number_text(context.get('le', context.get('lt')))}"
        case "string_pattern_mismatch" if context["pattern"] == NAME_PATTERN:
            return "a name is 1 to 63 small letters a-z, digits and hyphens, and begins with a letter or digit"
        case "string_pattern_mismatch":
            return f"must fit the pattern {context['pattern']}"
        case "url_parsing" | "url_type" | "url_scheme" | "url_syntax_violation":
            return "must be an address such as https://shop.example.vn/hook"
        case _ if error_type.startswith(("date", "time")):
            return "must be a day such as 2026-01-31, or an instant with its zone such as 2026-01-31T09:00:00+07:00"
        case _:
            return "cannot be used: `onefold schema` says what fits"


def _number_text(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _drop_consequential_errors(errors_by_path: dict[DocumentPath, _PathErrors]) -> None:
    """Drop errors that follow from others: branches of a union that were not meant, a key that is missing as it is misspelled."""
    for path, path_errors in errors_by_path.items():
        if any(other[: len(path)] == path and len(other) > len(path) for other in errors_by_path):
            path_errors.expected.clear()
            path_errors.options.clear()
        if path_errors.is_unknown_key:
            suggestions = closest_words(str(path[-1]), allowed_keys(path_errors.shape))
            missing_key = errors_by_path.get((*path[:-1], suggestions[0])) if suggestions else None
            if missing_key is not None:
                missing_key.is_missing = False


def _message_for(document: Any, path: DocumentPath, path_errors: _PathErrors) -> str:
    if path_errors.is_unknown_key:
        return _unknown_key_message(path, allowed_keys(path_errors.shape), _value_at(document, path[:-1]))
    if path_errors.is_not_a_condition:
        return _not_a_condition_message(_value_at(document, path), allowed_keys(path_errors.shape))
    if path_errors.is_missing:
        return "is missing: add it"
    if path_errors.options:
        value = _value_at(document, path)
        options = list(dict.fromkeys(path_errors.options))
        suggestion = did_you_mean(closest_words(value, options)) if isinstance(value, str) and len(options) > 1 else ""
        return f"must be {'one of ' if len(options) > 1 else ''}{', '.join(options)}{f': {suggestion}' if suggestion else ''}"
    if path_errors.expected:
        kinds = sorted(
            set(path_errors.expected),
            key=lambda kind: _EXPECTATION_ORDER.index(kind) if kind in _EXPECTATION_ORDER else len(_EXPECTATION_ORDER),
        )
        if "a number" in kinds and "a whole number" in kinds:
            kinds.remove("a whole number")
        return f"must be {_comma_separated(kinds)}"
    return "; ".join(dict.fromkeys(path_errors.messages))


def _unknown_key_message(path: DocumentPath, allowed: Sequence[str], parent: Any) -> str:
    if len(allowed) == 1 and allowed[0] in KEYWORDS and allowed[0] in parent:
        return f"a condition holds one word alone, here `{allowed[0]}`: move the key into it, or list two conditions under `all`"
    suggestion = did_you_mean(closest_words(str(path[-1]), allowed))
    return f"unknown key: {suggestion or f'leave it out; known are {_comma_separated(allowed)}'}"


def _not_a_condition_message(value: Any, keywords: Sequence[str]) -> str:
    """Return the message for a value that should be a condition of the segment language."""
    if not isinstance(value, Mapping):
        return "must be a condition, such as {did: {event: Order Completed}}"
    keys = [str(key) for key in value]
    if present_keywords := [keyword for keyword in keys if keyword in keywords]:
        return f"holds several conditions, {_comma_separated(present_keywords)}: list them under `all` or `any`"
    suggestions = [
        word for key in keys for word in ([_KEYWORD_SYNONYMS[key]] if key in _KEYWORD_SYNONYMS else closest_words(key, keywords))
    ]
    problem = f"`{_key_text(keys[0])}` is no condition" if keys else "holds no condition"
    return f"{problem}: {did_you_mean(suggestions[:3]) or f'use one of {_comma_separated(keywords)}'}"


def _comma_separated(words: Iterable[str]) -> str:
    return ", ".join(words)


def _document_position(document: Any, path: DocumentPath) -> tuple[int, ...]:
    """Return a sort key by the position in the document. A missing key comes last of its level."""
    order = []
    for key in path:
        if isinstance(document, Mapping):
            keys = list(document)
            order.append(keys.index(key) if key in document else len(keys))
            document = document.get(key)
        else:
            order.append(key if isinstance(key, int) else 0)
            document = document[key] if isinstance(document, list | tuple) and isinstance(key, int) else None
    return tuple(order)


def _path_text(path: DocumentPath) -> str:
    return ".".join(_key_text(key) for key in path) or "document"


def _key_text(key: str | int) -> str:
    text = str(key)
    printable = text if text.isprintable() else repr(text)[1:-1]
    return printable if len(printable) <= MAX_KEY_CHARS else f"{printable[:MAX_KEY_CHARS]}…"
