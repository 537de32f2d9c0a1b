"""The calls of a call centre: their fields, checked, and laid out as intake reads every call. Pure.

A call-centre event may be written flat (`{"type": "call_ended", "call_id": "c-1", "talk_seconds": 95}`) or with its fields in
`properties`, in snake or camel case; whichever way it came, its event is the same.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from domain.intake.values import instant_ms, text_of
from schemas.hashes import short_hash
from schemas.identifiers import normalise
from schemas.reasons import Reason

DIRECTIONS: Final = ("inbound", "outbound")
MAX_NOTE_CHARS: Final = 8192
_MAX_TEXT_CHARS: Final = 256
_MAX_CALL_ID_CHARS: Final = 128

_IDENTIFIER_FIELDS: Final = ("user_id", "crm_id", "email", "phone")
"""Who it is about, as far as the agent knows: written beside the fields, they become identifiers and no properties."""
_COMMON_FIELDS: Final = frozenset(
    {
        "type", "messageId", "timestamp", "originalTimestamp", "sentAt", "receivedAt", "userId", "anonymousId", "identifiers",
        "traits", "properties", "context", "integrations", "source", "writeKey",
    }
)  # fmt: skip
"""What lies beside a call's fields and is read as in every call: none of it is a property."""
_REQUIRED_FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "call_started": ("call_id",),
    "call_connected": ("call_id",),
    "call_ended": ("call_id",),
    "call_disposition": ("call_id", "disposition"),
    "callback_scheduled": ("call_id", "scheduled_at"),
    "callback_done": ("call_id",),
    "note_added": ("note",),
}
_DISTINGUISHING_FIELD: Final = {
    "call_connected": "agent", "call_disposition": "disposition", "callback_scheduled": "scheduled_at", "note_added": "note",
}  # fmt: skip
"""What differs between two events of one type in one call: a transfer has another agent, a second note another text."""


class InvalidCall(Exception):
    """A call-centre event that cannot be used: why, and at which field."""

    def __init__(self, reason: Reason, detail: str, path: str) -> None:
        super().__init__(reason)
        self.reason, self.detail, self.path = reason, detail, path


def normalise_call(call: dict[str, Any], call_type: str, country: str) -> dict[str, Any]:
    """The call with its fields checked and in `properties`, who it is about in `identifiers`, and a message id if it can have one.

    The default message id is made of the call's id and type, so that the same event delivered again, by any way, is a duplicate.
    Raises BadCall with the path of the field.
    """
    fields = _collect_fields(call)
    identifiers = dict(_optional_object(call, "identifiers"))
    for name in _IDENTIFIER_FIELDS:
        identifier_value = fields.pop(name, None)
        if identifier_value is not None and identifiers.get(name) is None:
            identifiers[name] = _identifier(identifier_value, name)
    for name, check in _FIELD_CHECKS.items():
        value = check(fields.pop(name, None), name)
        if value is not None:
            fields[name] = value
    for name in _REQUIRED_FIELDS[call_type]:
        if name not in fields:
            raise InvalidCall(Reason.MISSING_FIELD, "is missing", f"properties.{name}")
    if (number := fields.get("caller_number")) is not None:
        identifiers.setdefault("caller_number", number)
        # A withheld number ("anonymous") names nobody and stays as it was said.
        fields["caller_number"] = normalise("caller_number", number, country) or number
    normalised = {name: value for name, value in call.items() if name in _COMMON_FIELDS}
    normalised |= {"properties": fields, "identifiers": {name: value for name, value in identifiers.items() if value is not None}}
    if call.get("messageId") in (None, "") and "call_id" in fields:
        normalised["messageId"] = default_message_id(call_type, fields)
    return normalised


def default_message_id(call_type: str, properties: dict[str, Any]) -> str:
    """The default message id of a checked call-centre event: call id, type, and what tells it from others of its type."""
    parts = [properties["call_id"], call_type]
    if (sequence := properties.get("sequence")) is not None:
        parts.append(sequence)
    elif (field := _DISTINGUISHING_FIELD.get(call_type)) is not None and (
        distinguishing_value := properties.get(field)
    ) is not None:
        parts.append(short_hash(distinguishing_value))
    return ":".join(parts)


def _collect_fields(call: dict[str, Any]) -> dict[str, Any]:
    """All fields in snake case: what lies beside wins over `properties`; what is unknown keeps its name."""
    fields: dict[str, Any] = {}
    flat_fields = {name: value for name, value in call.items() if name not in _COMMON_FIELDS}
    for source_fields in (_optional_object(call, "properties"), flat_fields):
        for name, value in source_fields.items():
            if value is not None:
                fields[_SPELLINGS.get(name, name)] = value
    return fields


def _optional_object(call: dict[str, Any], field: str) -> dict[str, Any]:
    value = call.get(field)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidCall(Reason.WRONG_TYPE, "must be an object", field)
    return value


def _identifier(value: Any, name: str) -> str:
    text = text_of(value)
    if text is None:
        raise InvalidCall(Reason.WRONG_TYPE, "must be text or a whole number", f"identifiers.{name}")
    return text


def _text_check(max_chars: int) -> Callable[[Any, str], str | None]:
    def check(value: Any, name: str) -> str | None:
        if value is None:
            return None
        text = text_of(value)
        if text is None:
            raise InvalidCall(Reason.WRONG_TYPE, "must be text or a whole number", f"properties.{name}")
        if len(text) > max_chars:
            raise InvalidCall(Reason.WRONG_TYPE, f"is longer than {max_chars} characters", f"properties.{name}")
        return text.strip() or None

    return check


def _check_seconds(value: Any, name: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidCall(Reason.WRONG_TYPE, "must be a number of seconds", f"properties.{name}")
    if value < 0:
        raise InvalidCall(Reason.WRONG_TYPE, "must not be negative", f"properties.{name}")
    return value


def _check_direction(value: Any, name: str) -> str | None:
    if value is None or value in DIRECTIONS:
        return value if isinstance(value, str) else None
    raise InvalidCall(Reason.WRONG_TYPE, f"must be {' or '.join(DIRECTIONS)}", f"properties.{name}")


def _check_instant(value: Any, name: str) -> str | None:
    """In one spelling, of one length: text that sorts as the instants do."""
    if value is None:
        return None
    at_ms = instant_ms(value)
    if at_ms is None:
        raise InvalidCall(Reason.WRONG_TYPE, "must be an ISO 8601 or epoch instant from 1970 on", f"properties.{name}")
    try:
        return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        raise InvalidCall(Reason.WRONG_TYPE, "must lie before the year 10000", f"properties.{name}") from None


def _to_camel_case(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)


_SHORT_TEXT: Final = _text_check(_MAX_TEXT_CHARS)
_FIELD_CHECKS: Final[dict[str, Callable[[Any, str], Any]]] = {
    "call_id": _text_check(_MAX_CALL_ID_CHARS),
    "sequence": _text_check(32),
    "caller_number": _SHORT_TEXT,
    "agent": _SHORT_TEXT,
    "queue": _SHORT_TEXT,
    "direction": _check_direction,
    "wait_seconds": _check_seconds,
    "talk_seconds": _check_seconds,
    "disposition": _SHORT_TEXT,
    "order_id": _SHORT_TEXT,
    "scheduled_at": _check_instant,
    "note": _text_check(MAX_NOTE_CHARS),
}
_SPELLINGS: Final = {_to_camel_case(name): name for name in (*_FIELD_CHECKS, *_IDENTIFIER_FIELDS)}
