"""What all steps need: decoding a slice, quarantining what does not decode, and addressing records."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec

from runtime.bus.port import Outgoing, Record
from runtime.settings import Settings
from schemas.codec import Undecodable, decode, encode
from schemas.identifiers import NAMESPACE_RANK
from schemas.quarantine import quarantined as of_record
from schemas.reasons import Reason
from schemas.records import Decided, Grouped, Link, LinkRecord, Look, Touched

T = TypeVar("T", bound=msgspec.Struct)
_NO_NODE: Final = Undecodable(Reason.WRONG_TYPE, "it names what is no node or no group")
_HEX: Final = frozenset("0123456789abcdef")
_FIRST: Final = frozenset(f"{rank:x}" for rank in NAMESPACE_RANK.values())
_KINDS: Final = {"a": "account", "h": "household"}


def decode_slice(
    kind: type[T], records: Sequence[Record], stage: str, settings: Settings, now_ms: int
) -> tuple[list[tuple[Record, T]], list[Outgoing]]:
    """The records that decode, and a quarantine record for each that does not."""
    check = _CHECKS.get(kind)
    good: list[tuple[Record, T]] = []
    bad: list[Outgoing] = []
    for record in records:
        try:
            said = decode(kind, record.value)
        except Undecodable as error:
            bad.append(quarantine(record, stage, error, settings, now_ms))
            continue
        if check is None or check(said):
            good.append((record, said))
        else:
            bad.append(quarantine(record, stage, _NO_NODE, settings, now_ms))
    return good, bad


def _nodes(names: Iterable[str]) -> bool:
    """Whether each can be a node: what is computed from its digits must not fail."""
    return all(name and name[0] in _FIRST and set(name) <= _HEX for name in names)


def _link(said: LinkRecord) -> bool:
    if isinstance(said, Link):
        return _nodes((said.a, said.b))
    if isinstance(said, Decided):
        return _nodes(node for _, a, b in said.pairs for node in (a, b))
    return not isinstance(said, Look) or _nodes(said.nodes)


def _grouped(said: Grouped) -> bool:
    return _KINDS.get(said.group_id[:1]) == said.kind and (not said.profile_id or _nodes((said.profile_id,)))


_CHECKS: Final[Mapping[type, Callable[[Any], bool]]] = {LinkRecord: _link, Grouped: _grouped}


def quarantine(record: Record, stage: str, error: Undecodable, settings: Settings, now_ms: int) -> Outgoing:
    """A record of ours for `quarantine`: the same id however often it is said."""
    place = (record.topic, record.partition, record.offset)
    counted = record.topic == settings.topic("events")
    held = of_record(stage, place, record.value, error.reason, error.detail, at_ms=now_ms, counted=counted)
    return Outgoing(settings.topic("quarantine"), encode(held))


def touch(settings: Settings, touched: Touched) -> Outgoing:
    """A `touched` record, keyed by its profile."""
    return Outgoing(settings.topic("touched"), encode(touched), key=touched.profile_id.encode())


def contribution(settings: Settings, grouped: Grouped) -> Outgoing:
    """A `groups` record, keyed by its group."""
    return Outgoing(settings.topic("groups"), encode(grouped), key=grouped.group_id.encode())
