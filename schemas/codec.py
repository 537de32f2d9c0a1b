"""Bytes to records and back. Decoding errors become Invalid-shaped results: the reason and the path, never the value."""

from typing import Any, Final, TypeVar

import msgspec

from schemas.events import EVENT_VERSION, Event
from schemas.reasons import Reason
from schemas.records import Delivery, Link, Profile, Quarantined, Touched, Transition

T = TypeVar("T", bound=msgspec.Struct)

_ENCODER: Final = msgspec.json.Encoder()
_DECODERS: Final[dict[type, msgspec.json.Decoder[Any]]] = {
    kind: msgspec.json.Decoder(kind) for kind in (Event, Link, Touched, Profile, Transition, Delivery, Quarantined)
}


class Undecodable(ValueError):
    """A record's bytes do not fit its schema. `reason` is from the closed list; the text names the path, never the value."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def encode(record: msgspec.Struct) -> bytes:
    """The record as UTF-8 JSON."""
    return _ENCODER.encode(record)


def decode(kind: type[T], value: bytes | None) -> T:
    """The record of that kind; raises Undecodable."""
    if value is None:
        raise Undecodable(Reason.UNPARSABLE, "the record has no value")
    try:
        record: T = _DECODERS[kind].decode(value)
    except msgspec.ValidationError as error:
        raise Undecodable(Reason.WRONG_TYPE, str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Undecodable(Reason.UNPARSABLE, type(error).__name__) from None
    version = getattr(record, "version", 1)
    if not 1 <= version <= EVENT_VERSION:
        raise Undecodable(Reason.UNKNOWN_VERSION, f"version is {version}, known are 1 to {EVENT_VERSION}")
    return record
