"""Check the fields of a call centre's events, and lay them out as intake reads every call. Pure.

A call-centre event may be written flat (`{"type": "call_ended", "call_id": "c-1", "talk_seconds": 95}`) or with its fields in
`properties`, in snake case or camel case. The event is the same, whichever way it was written.
"""

from collections.abc import Callable
from typing import Any, Final

from domain.identity.identifier_values import normalise
from domain.instants import INSTANT_RULE, instant_ms, iso_instant
from domain.intake.call_fields import is_absent_value, optional_object, optional_text
from domain.intake.durations import read_seconds
from domain.intake.rejection import CallRejected
from domain.intake.values import text_of
from domain.intake.withheld_numbers import is_withheld
from schemas.hashes import short_hash
from schemas.reasons import Reason

DIRECTIONS: Final = ("inbound", "outbound")
_DIRECTION_BY_WORD: Final = {
    "inbound": "inbound", "in": "inbound", "incoming": "inbound",
    "outbound": "outbound", "out": "outbound", "outgoing": "outbound",
}  # fmt: skip
_WORD_ENDS: Final = str.maketrans("-_", "  ")
MAX_NOTE_CHARS: Final = 8192
_MAX_TEXT_CHARS: Final = 256
_MAX_CALL_ID_CHARS: Final = 128

_IDENTIFIER_FIELDS: Final = ("user_id", "crm_id", "email", "phone")
"""Who the call is about, as far as the agent knows. They become identifiers, and are no properties."""
_COMMON_FIELDS: Final = frozenset(
    {
        "type", "messageId", "timestamp", "originalTimestamp", "sentAt", "receivedAt", "userId", "anonymousId", "identifiers",
        "traits", "properties", "context", "integrations", "source", "writeKey",
    }
)  # fmt: skip
"""Fields that every call has. None of them is a property of the call centre's event."""
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
"""The field that differs between two events of one type in one call: a transfer has another agent, a second note another text."""


def normalise_call(call: dict[str, Any], call_type: str, country: str) -> dict[str, Any]:
    """Return the call with its checked fields in `properties` and the people it is about in `identifiers`.

    A call without a message id gets one made of its call id and type, so that the same event is a duplicate by whatever way it
    comes again. Raises CallRejected with the path of the field that is wrong.
    """
    fields = _collect_fields(call)
    identifiers = dict(optional_object(call, "identifiers"))
    for name in _IDENTIFIER_FIELDS:
        identifier = optional_text(fields, name, "identifiers.") if identifiers.get(name) is None else None
        fields.pop(name, None)
        if identifier is not None:
            identifiers[name] = identifier
    for name, check in _FIELD_CHECKS.items():
        value = fields.pop(name, None)
        if not is_absent_value(value):
            fields[name] = check(value, name)
    for name in _REQUIRED_FIELDS[call_type]:
        if name not in fields:
            raise CallRejected(Reason.MISSING_FIELD, "is missing", f"properties.{name}")
    if (number := fields.get("caller_number")) is not None:
        identifiers.setdefault("caller_number", number)
        if not is_withheld(number):
            # What is no phone number ("anonymous") names nobody and stays as it was sent.
            fields["caller_number"] = normalise("caller_number", number, country) or number
    normalised = {name: value for name, value in call.items() if name in _COMMON_FIELDS}
    normalised |= {"properties": fields, "identifiers": {name: value for name, value in identifiers.items() if value is not None}}
    if call.get("messageId") in (None, "") and "call_id" in fields:
        normalised["messageId"] = default_message_id(call_type, fields)
    return normalised


def default_message_id(call_type: str, properties: dict[str, Any]) -> str:
    """Return the default message id of a checked event: its call id, its type, and what tells it from others of its type."""
    parts = [properties["call_id"], call_type]
    if (sequence := properties.get("sequence")) is not None:
        parts.append(sequence)
    elif (field := _DISTINGUISHING_FIELD.get(call_type)) is not None and (
        distinguishing_value := properties.get(field)
    ) is not None:
        parts.append(short_hash(distinguishing_value))
    return ":".join(parts)


def _collect_fields(call: dict[str, Any]) -> dict[str, Any]:
    """Return all fields in snake case. A field beside `properties` wins over one inside; an unknown field keeps its name."""
    fields: dict[str, Any] = {}
    flat_fields = {name: value for name, value in call.items() if name not in _COMMON_FIELDS}
    for source_fields in (optional_object(call, "properties"), flat_fields):
        for name, value in source_fields.items():
            if value is not None:
                fields[_SPELLINGS.get(name, name)] = value
    return fields


def _text_check(max_chars: int) -> Callable[[Any, str], str]:
    def check(value: Any, name: str) -> str:
        text = text_of(value)
        if text is None:
            raise CallRejected(Reason.WRONG_TYPE, "must be text or a whole number", f"properties.{name}")
        if len(text) > max_chars:
            raise CallRejected(Reason.WRONG_TYPE, f"is longer than {max_chars} characters", f"properties.{name}")
        return text.strip()

    return check


def _check_seconds(value: Any, name: str) -> float:
    seconds = read_seconds(value)
    if seconds is None:
        raise CallRejected(Reason.WRONG_TYPE, "must be a number of seconds, or a time such as 00:04:19", f"properties.{name}")
    if seconds < 0:
        raise CallRejected(Reason.WRONG_TYPE, "must not be negative", f"properties.{name}")
    return seconds


def _check_direction(value: Any, name: str) -> str:
    """Return `inbound` or `outbound`, also for `in`, `Incoming` or Twilio's `outbound-api`: the first word decides."""
    word = value.strip().casefold().translate(_WORD_ENDS).partition(" ")[0] if isinstance(value, str) else ""
    direction = _DIRECTION_BY_WORD.get(word)
    if direction is None:
        raise CallRejected(Reason.WRONG_TYPE, f"must be {' or '.join(DIRECTIONS)}", f"properties.{name}")
    return direction


def _check_instant(value: Any, name: str) -> str:
    """Return the instant in one spelling of one length, so that the texts sort as the instants do."""
    at_ms = instant_ms(value)
    instant = None if at_ms is None else iso_instant(at_ms)
    if instant is None:
        raise CallRejected(Reason.WRONG_TYPE, INSTANT_RULE, f"properties.{name}")
    return instant


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
