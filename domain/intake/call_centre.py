"""The calls of a call centre: their fields, checked, and laid out as intake reads every call. Pure.

A call-centre event may be written flat (`{"type": "call_ended", "call_id": "c-1", "talk_seconds": 95}`) or with its fields in
`properties`, in snake or camel case; whichever way it came, its event is the same.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, Literal

from schemas.hashes import short_hash
from schemas.identifiers import normalise
from domain.intake.values import instant_ms, text_of
from schemas.reasons import Reason

CallType = Literal[
    "call_started", "call_connected", "call_ended", "call_disposition", "callback_scheduled", "callback_done", "note_added"
]
CALL_TYPES: Final = (
    "call_started", "call_connected", "call_ended", "call_disposition", "callback_scheduled", "callback_done", "note_added",
)  # fmt: skip
DIRECTIONS: Final = ("inbound", "outbound")
MAX_NOTE_CHARS: Final = 8192
_MAX_TEXT_CHARS: Final = 256
_MAX_CALL_ID_CHARS: Final = 128

_NAMES: Final = ("user_id", "crm_id", "email", "phone")
"""Who it is about, as far as the agent knows: written beside the fields, they become identifiers and no properties."""
_ENVELOPE: Final = frozenset(
    {
        "type", "messageId", "timestamp", "originalTimestamp", "sentAt", "receivedAt", "userId", "anonymousId", "identifiers",
        "traits", "properties", "context", "integrations", "source", "writeKey",
    }
)  # fmt: skip
"""What lies beside a call's fields and is read as in every call: none of it is a property."""
_NEEDS: Final[dict[str, tuple[str, ...]]] = {
    "call_started": ("call_id",),
    "call_connected": ("call_id",),
    "call_ended": ("call_id",),
    "call_disposition": ("call_id", "disposition"),
    "callback_scheduled": ("call_id", "scheduled_at"),
    "callback_done": ("call_id",),
    "note_added": ("note",),
}
_TELLS_APART: Final = {
    "call_connected": "agent", "call_disposition": "disposition", "callback_scheduled": "scheduled_at", "note_added": "note",
}  # fmt: skip
"""What differs between two events of one type in one call: a transfer has another agent, a second note another text."""


class BadCall(Exception):
    """A call-centre event that cannot be used: why, and at which field."""

    def __init__(self, reason: Reason, detail: str, path: str) -> None:
        super().__init__(reason)
        self.reason, self.detail, self.path = reason, detail, path


def laid_out(call: dict[str, Any], call_type: str, country: str) -> dict[str, Any]:
    """The call with its fields checked and in `properties`, who it is about in `identifiers`, and a message id if it can have one.

    The default message id is made of the call's id and type, so that the same event delivered again, by any way, is a duplicate.
    Raises BadCall with the path of the field.
    """
    found = _gathered(call)
    identifiers = dict(_mapping(call, "identifiers"))
    for name in _NAMES:
        given = found.pop(name, None)
        if given is not None and identifiers.get(name) is None:
            identifiers[name] = _identifier(given, name)
    for name, check in _CHECKS.items():
        value = check(found.pop(name, None), name)
        if value is not None:
            found[name] = value
    for name in _NEEDS[call_type]:
        if name not in found:
            raise BadCall(Reason.MISSING_FIELD, "is missing", f"properties.{name}")
    if (number := found.get("caller_number")) is not None:
        identifiers.setdefault("caller_number", number)
        # A withheld number ("anonymous") names nobody and stays as it was said.
        found["caller_number"] = normalise("caller_number", number, country) or number
    out = {name: value for name, value in call.items() if name in _ENVELOPE}
    out |= {"properties": found, "identifiers": {name: value for name, value in identifiers.items() if value is not None}}
    if call.get("messageId") in (None, "") and "call_id" in found:
        out["messageId"] = message_id(call_type, found)
    return out


def message_id(call_type: str, properties: dict[str, Any]) -> str:
    """The default message id of a checked call-centre event: call id, type, and what tells it from others of its type."""
    parts = [properties["call_id"], call_type]
    if (sequence := properties.get("sequence")) is not None:
        parts.append(sequence)
    elif (field := _TELLS_APART.get(call_type)) is not None and (apart := properties.get(field)) is not None:
        parts.append(short_hash(apart))
    return ":".join(parts)


def _gathered(call: dict[str, Any]) -> dict[str, Any]:
    """All fields in snake case: what lies beside wins over `properties`; what is unknown keeps its name."""
    found: dict[str, Any] = {}
    beside = {name: value for name, value in call.items() if name not in _ENVELOPE}
    for given in (_mapping(call, "properties"), beside):
        for name, value in given.items():
            if value is not None:
                found[_SPELLINGS.get(name, name)] = value
    return found


def _mapping(call: dict[str, Any], field: str) -> dict[str, Any]:
    value = call.get(field)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadCall(Reason.WRONG_TYPE, "must be an object", field)
    return value


def _identifier(value: Any, name: str) -> str:
    text = text_of(value)
    if text is None:
        raise BadCall(Reason.WRONG_TYPE, "must be text or a whole number", f"identifiers.{name}")
    return text


def _text(most: int) -> Callable[[Any, str], str | None]:
    def check(value: Any, name: str) -> str | None:
        if value is None:
            return None
        text = text_of(value)
        if text is None:
            raise BadCall(Reason.WRONG_TYPE, "must be text or a whole number", f"properties.{name}")
        if len(text) > most:
            raise BadCall(Reason.WRONG_TYPE, f"is longer than {most} characters", f"properties.{name}")
        return text.strip() or None

    return check


def _seconds(value: Any, name: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadCall(Reason.WRONG_TYPE, "must be a number of seconds", f"properties.{name}")
    if value < 0:
        raise BadCall(Reason.WRONG_TYPE, "must not be negative", f"properties.{name}")
    return value


def _direction(value: Any, name: str) -> str | None:
    if value is None or value in DIRECTIONS:
        return value if isinstance(value, str) else None
    raise BadCall(Reason.WRONG_TYPE, f"must be {' or '.join(DIRECTIONS)}", f"properties.{name}")


def _instant(value: Any, name: str) -> str | None:
    """In one spelling, of one length: text that sorts as the instants do."""
    if value is None:
        return None
    at = instant_ms(value)
    if at is None:
        raise BadCall(Reason.WRONG_TYPE, "must be an ISO 8601 or epoch instant from 1970 on", f"properties.{name}")
    try:
        return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        raise BadCall(Reason.WRONG_TYPE, "must lie before the year 10000", f"properties.{name}") from None


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)


_SHORT: Final = _text(_MAX_TEXT_CHARS)
_CHECKS: Final[dict[str, Callable[[Any, str], Any]]] = {
    "call_id": _text(_MAX_CALL_ID_CHARS),
    "sequence": _text(32),
    "caller_number": _SHORT,
    "agent": _SHORT,
    "queue": _SHORT,
    "direction": _direction,
    "wait_seconds": _seconds,
    "talk_seconds": _seconds,
    "disposition": _SHORT,
    "order_id": _SHORT,
    "scheduled_at": _instant,
    "note": _text(MAX_NOTE_CHARS),
}
_SPELLINGS: Final = {_camel(name): name for name in (*_CHECKS, *_NAMES)}
