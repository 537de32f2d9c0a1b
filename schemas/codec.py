"""Decode bytes to records and encode records to bytes. Errors name the reason and the path, never the value."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from schemas.event_limits import LEAST_BYTES, find_excess
from schemas.events import EVENT_VERSION, NOBODY, Event
from schemas.identifiers import NAMESPACE_RANK
from schemas.instants import DAY_MS
from schemas.reasons import Reason
from schemas.records import (
    Delivery,
    GroupRecord,
    Identity,
    Link,
    LinkDecision,
    LinkRecord,
    Profile,
    QuarantineRecord,
    ReclusterRequest,
    Touched,
    Transition,
    WaitingDelivery,
)

T = TypeVar("T", bound=msgspec.Struct)

_PROBLEMS_WITHOUT_VALUES: Final = ("Expected `", "Object missing required field")
"""How texts of msgspec begin that name types and fields of the schema alone."""
_ENCODER: Final = msgspec.json.Encoder()
_MSGPACK_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODERS: Final[dict[type, msgspec.json.Decoder[Any]]] = {
    kind: msgspec.json.Decoder(kind)
    for kind in (Event, Touched, Identity, GroupRecord, Profile, Transition, Delivery, WaitingDelivery, QuarantineRecord)
} | {LinkRecord: msgspec.json.Decoder(Link | LinkDecision | ReclusterRequest)}
_TO_ZEROS: Final = bytes.maketrans(b"123456789", b"0" * 9)
_NINETEEN_ZEROS: Final = b"0" * 19
_CURRENT_VERSIONS: Final[dict[type, int]] = {Link: 2, Event: EVENT_VERSION, Touched: 2, Profile: 2, Transition: 2}
"""The newest version of each kind of record; 1 for kinds that are not listed."""


class Undecodable(ValueError):
    """The bytes of a record do not fit its schema. `reason` is from the closed list; the text names the path, never the value."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def encode(record: msgspec.Struct) -> bytes:
    """Return the record as JSON in UTF-8."""
    return _ENCODER.encode(record)


def decode(record_type: type[T], value: bytes | None) -> T:
    """Return the record of that kind, brought up to its newest version. Raises Undecodable."""
    if value is None:
        raise Undecodable(Reason.UNPARSABLE, "the record has no value")
    try:
        record: T = _decode_earlier_version(record_type, value) or _DECODERS[record_type].decode(value)
    except msgspec.ValidationError as error:
        raise Undecodable(Reason.WRONG_TYPE, describe_mismatch(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Undecodable(Reason.UNPARSABLE, type(error).__name__) from None
    if _NINETEEN_ZEROS in value.translate(_TO_ZEROS):
        _check_integers(record)
    if (check := _CONSISTENCY_CHECKS.get(record_type)) is not None and not check.is_consistent(record):
        raise Undecodable(Reason.WRONG_TYPE, check.problem)
    if isinstance(record, Event) and len(value) > LEAST_BYTES and (excess := find_excess(record.traits, len(record.nodes))):
        raise Undecodable(excess.reason, f"{excess.path}: {excess.detail}")
    version, current_version = getattr(record, "version", 1), _CURRENT_VERSIONS.get(type(record), 1)
    if not 1 <= version <= current_version:
        raise Undecodable(
            Reason.UNKNOWN_VERSION, f"the version is {version}, but this Onefold reads versions 1 to {current_version}"
        )
    return record if version == current_version else msgspec.structs.replace(record, version=current_version)


def describe_mismatch(error: msgspec.ValidationError) -> str:
    """Return what does not fit a schema, and where; a value, or a name that the sender chose, is left out of msgspec's text."""
    problem, separator, path = str(error).rpartition(" - at ")
    if not separator:
        problem, path = path, ""
    if not problem.startswith(_PROBLEMS_WITHOUT_VALUES):
        problem = "The value is none of those that are allowed"
    return f"{problem} - at {path}" if path else problem


def _check_integers(record: msgspec.Struct) -> None:
    """Raise Undecodable for an integer beyond 64 bits: it decodes, but neither a store nor a later record can hold it."""
    try:
        _MSGPACK_ENCODER.encode(record)
    except OverflowError:
        raise Undecodable(Reason.WRONG_TYPE, "an integer beyond 64 bits") from None


def _are_nodes(names: Iterable[str]) -> bool:
    """Return whether each name can be a node, so that nothing that is computed from its digits fails."""
    return all(name and name[0] in _RANK_DIGITS and _HEX_DIGITS.issuperset(name) for name in names)


class _ConsistencyCheck(NamedTuple):
    """A test of a decoded record, and what is wrong with a record that fails it."""

    is_consistent: Callable[[Any], bool]
    problem: str


def _is_consistent_event(event: Event) -> bool:
    return len(event.nodes) == len(event.identifiers) and (event.owner in event.nodes if event.nodes else event.owner == NOBODY)


def _is_consistent_link(record: LinkRecord) -> bool:
    if isinstance(record, Link):
        return _are_nodes((record.a, record.b))
    if isinstance(record, LinkDecision):
        return _are_nodes(node for _, a, b in record.pairs for node in (a, b))
    return not isinstance(record, ReclusterRequest) or _are_nodes(record.nodes)


def _is_consistent_group(record: GroupRecord) -> bool:
    return record.group_id[:1] == record.kind[0] and (not record.profile_id or _are_nodes((record.profile_id,)))


_HEX_DIGITS: Final = frozenset("0123456789abcdef")
_RANK_DIGITS: Final = frozenset(f"{rank:x}" for rank in NAMESPACE_RANK.values())
_CONSISTENCY_CHECKS: Final[Mapping[type, _ConsistencyCheck]] = {
    Event: _ConsistencyCheck(_is_consistent_event, "nodes and identifiers differ in number, or owner is not one of the nodes"),
    LinkRecord: _ConsistencyCheck(_is_consistent_link, "a node is not a namespace rank and hexadecimal digits"),
    GroupRecord: _ConsistencyCheck(_is_consistent_group, "group_id does not fit its kind, or profile_id is not a node"),
}
"""What must be true of a record beyond its schema, so that no reader of it fails."""


class _LinkV1(msgspec.Struct):
    """A link as it was written before the records of `links` had a `kind`."""

    a: str
    b: str
    first_ms: int
    last_day: int
    event_id: str
    source: str


_LINK_V1_DECODER: Final = msgspec.json.Decoder(_LinkV1)


def _decode_earlier_version(record_type: type, value: bytes) -> Any:
    """Return the record if its bytes have an earlier shape that is still read, else None."""
    if record_type is not LinkRecord or b'"kind"' in value:
        return None
    link_v1 = _LINK_V1_DECODER.decode(value)
    return Link(
        a=link_v1.a,
        b=link_v1.b,
        first_ms=link_v1.first_ms,
        first_event=link_v1.event_id,
        last_ms=max(link_v1.first_ms, link_v1.last_day * DAY_MS),
        last_event=link_v1.event_id,
        source=link_v1.source,
        owner="",
    )
