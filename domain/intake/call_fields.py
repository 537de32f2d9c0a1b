"""Optional fields of a call, read with their type checked. Each function raises CallRejected with the path of the field."""

from typing import Any

from domain.intake.rejection import CallRejected
from domain.intake.values import text_of
from schemas.reasons import Reason


def is_absent_object(value: Any) -> bool:
    """Return whether a value that should be an object stands for none: null, or the empty list that PHP writes for an empty map."""
    return value is None or value == []


def is_absent_value(value: Any) -> bool:
    """Return whether a value that should be a number, an instant or a choice stands for none: null or a blank text."""
    return value is None or (isinstance(value, str) and not value.strip())


def optional_object(call: dict[str, Any], field: str) -> dict[str, Any]:
    """Return the object at a field, empty when the field is absent, null or an empty list.

    PHP has one type for lists and maps, and its encoder writes an empty one as `[]`.
    """
    value = call.get(field)
    if is_absent_object(value):
        return {}
    if not isinstance(value, dict):
        raise CallRejected(Reason.WRONG_TYPE, "must be an object", field)
    return value


def optional_text(call: dict[str, Any], field: str, parent: str = "") -> str | None:
    """Return the text at a field, None when the field is null or absent. A whole number becomes its digits.

    `parent` is the path of `call` itself, with a dot at its end: it goes before the field in the path of a rejection.
    """
    value = call.get(field)
    if value is None:
        return None
    text = text_of(value)
    if text is None:
        raise CallRejected(Reason.WRONG_TYPE, "must be text or a whole number", f"{parent}{field}")
    return text
