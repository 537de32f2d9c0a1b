"""Bytes to records and back. Decoding errors become Invalid-shaped results: the reason and the path, never the value."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

import msgspec

from schemas.events import EVENT_VERSION, Event
from schemas.identifiers import NAMESPACE_RANK
from schemas.reasons import Reason
from schemas.records import Decided, Delivery, Grouped, Identity, Link, LinkRecord, Look, Profile, Quarantined, Touched, Transition

T = TypeVar("T", bound=msgspec.Struct)
DAY_MS: Final = 86_400_000

_ENCODER: Final = msgspec.json.Encoder()
_MSGPACK: Final = msgspec.msgpack.Encoder()
_DECODERS: Final[dict[type, msgspec.json.Decoder[Any]]] = {
    kind: msgspec.json.Decoder(kind) for kind in (Event, Touched, Identity, Grouped, Profile, Transition, Delivery, Quarantined)
} | {LinkRecord: msgspec.json.Decoder(Link | Decided | Look)}
_DIGITS: Final = bytes.maketrans(b"123456789", b"0" * 9)
_MANY: Final = b"0" * 19
_NEWEST: Final[dict[type, int]] = {Link: 2, Event: EVENT_VERSION, Touched: 2, Profile: 2, Transition: 2}
"""The newest version of each kind; 1 for those that are not here."""


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
    """The record of that kind, brought up to its newest version; raises Undecodable."""
    if value is None:
        raise Undecodable(Reason.UNPARSABLE, "the record has no value")
    try:
        record: T = _earlier(kind, value) or _DECODERS[kind].decode(value)
    except msgspec.ValidationError as error:
        raise Undecodable(Reason.WRONG_TYPE, str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Undecodable(Reason.UNPARSABLE, type(error).__name__) from None
    if _MANY in value.translate(_DIGITS):
        _check_integers(record)
    if (sound := _SOUND.get(kind)) is not None and not sound(record):
        raise Undecodable(Reason.WRONG_TYPE, "it names what is no node or no group, or nodes that are not its own")
    version, newest = getattr(record, "version", 1), _NEWEST.get(type(record), 1)
    if not 1 <= version <= newest:
        raise Undecodable(Reason.UNKNOWN_VERSION, f"version is {version}, known are 1 to {newest}")
    return record if version == newest else msgspec.structs.replace(record, version=newest)


def _check_integers(record: msgspec.Struct) -> None:
    """Raises Undecodable for an integer beyond 64 bits: it decodes, but no store and no later record can hold it."""
    try:
        _MSGPACK.encode(record)
    except OverflowError:
        raise Undecodable(Reason.WRONG_TYPE, "an integer beyond 64 bits") from None


def _nodes(names: Iterable[str]) -> bool:
    """Whether each can be a node: what is computed from its digits must not fail."""
    return all(name and name[0] in _FIRST and _HEX.issuperset(name) for name in names)


def _sound_event(event: Event) -> bool:
    return len(event.nodes) == len(event.identifiers) and event.owner in event.nodes


def _sound_link(said: LinkRecord) -> bool:
    if isinstance(said, Link):
        return _nodes((said.a, said.b))
    if isinstance(said, Decided):
        return _nodes(node for _, a, b in said.pairs for node in (a, b))
    return not isinstance(said, Look) or _nodes(said.nodes)


def _sound_group(said: Grouped) -> bool:
    return said.group_id[:1] == said.kind[0] and (not said.profile_id or _nodes((said.profile_id,)))


_HEX: Final = frozenset("0123456789abcdef")
_FIRST: Final = frozenset(f"{rank:x}" for rank in NAMESPACE_RANK.values())
_SOUND: Final[Mapping[type, Callable[[Any], bool]]] = {Event: _sound_event, LinkRecord: _sound_link, Grouped: _sound_group}
"""What of a record of that kind must hold beyond its schema, so that no reader of it fails."""


class _LinkV1(msgspec.Struct):
    """A link as it was said before records of `links` had a `kind`."""

    a: str
    b: str
    first_ms: int
    last_day: int
    event_id: str
    source: str


_LINK_V1: Final = msgspec.json.Decoder(_LinkV1)


def _earlier(kind: type, value: bytes) -> Any:
    """The record if it is of an earlier shape that is still read, else None."""
    if kind is not LinkRecord or b'"kind"' in value:
        return None
    old = _LINK_V1.decode(value)
    return Link(
        a=old.a,
        b=old.b,
        first_ms=old.first_ms,
        first_event=old.event_id,
        last_ms=max(old.first_ms, old.last_day * DAY_MS),
        last_event=old.event_id,
        source=old.source,
        owner="",
    )
