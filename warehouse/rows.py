"""Records of the topics as rows of the tables. Pure: the same record gives the same rows, so that a replay changes nothing."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from domain.identity import evidence
from profile_store.port import Edge
from runtime.bus.port import Record
from schemas.codec import Undecodable
from schemas.events import Event
from schemas.hashes import short_hash
from schemas.records import Decided, Delivery, Grouped, Identity, Link, LinkRecord, Profile, Quarantined, Transition

Row = tuple[Any, ...]

_LATEST_MS: Final = 10_413_791_999_999
"""The end of the year 2299, the last instant that a DateTime64 can show."""
_MAX_INT64: Final = 2**63 - 1
_MAX_UINT64: Final = 2**64 - 1
_MAX_UINT32: Final = 2**32 - 1
_MAX_INT32: Final = 2**31 - 1
_OFFSET_BITS: Final = 20
_JSON: Final = msgspec.json.Encoder()


def instant(at_ms: int) -> int:
    """Milliseconds as ClickHouse's DateTime64(3) can hold them."""
    return min(max(at_ms, 0), _LATEST_MS)


def _int64(number: int) -> int:
    return min(max(number, -_MAX_INT64), _MAX_INT64)


def _uint64(number: int) -> int:
    return min(max(number, 0), _MAX_UINT64)


def _uint32(number: int) -> int:
    return min(max(number, 0), _MAX_UINT32)


def _counts(counters: Mapping[str, int]) -> dict[str, int]:
    return {name: _uint64(count) for name, count in counters.items()}


def _text(value: Mapping[str, Any]) -> str:
    return _JSON.encode(value).decode()


def event(record: Record, said: Event) -> Row:
    """`event_store`."""
    return (
        said.owner,
        said.id,
        said.type,
        said.name,
        said.source,
        instant(said.time_ms),
        instant(said.received_ms),
        list(said.nodes),
        [tuple(pair) for pair in said.identifiers],
        _text(said.properties),
        _text(said.traits),
        _text(said.context),
        list(said.flags),
        [tuple(violation) for violation in said.violations],
        [tuple(violation) for violation in said.observed],
        record.partition,
        record.offset,
    )


def stored(record: Record, said: Event) -> Row:
    """`ledger`, for an event that was kept (or had been before)."""
    return (
        record.partition,
        record.offset,
        said.owner,
        short_hash(said.id),
        "stored",
        "",
        said.source,
        said.label,
        instant(said.received_ms),
    )


def quarantined(record: Record, error: Undecodable) -> Row:
    """`ledger`, for a record that does not decode."""
    return (record.partition, record.offset, "", "", "quarantined", str(error.reason), "", "", 0)


def evidence_row(a: str, b: str, edge: Edge) -> Row:
    """`evidence_store`: the columns `first` and `last` sort as `Edge.join` chooses."""
    return (
        a,
        b,
        (_int64(edge.first_ms), edge.first_event, edge.source, edge.owner, edge.rule, edge.rules),
        (-_int64(edge.last_day), _int64(edge.last_ms), edge.last_event),
    )


def link(_record: Record, said: LinkRecord) -> list[Row]:
    """`evidence_store`."""
    return [evidence_row(said.a, said.b, evidence.of_link(said))] if isinstance(said, Link) else []


def decided(_record: Record, said: LinkRecord) -> list[Row]:
    """`decision_store`: a row for each pair."""
    if not isinstance(said, Decided):
        return []
    at_ms = _int64(said.at_ms)
    return [(said.operation, said.action, kind, a, b, said.on, at_ms, said.of, said.by, said.reason) for kind, a, b in said.pairs]


def identity(_record: Record, said: Identity) -> list[Row]:
    """`identity_store`."""
    return [
        (
            said.profile_id,
            _version(said),
            list(said.members),
            said.merged_into,
            said.split_from,
            said.cause,
            instant(said.at_ms),
        )
    ]


def labels(_record: Record, said: Identity) -> list[Row]:
    """`labels`: one row per member. A dissolved profile has none, its nodes are members of others."""
    return [(node, said.profile_id, _version(said)) for node in said.members]


def _version(said: Identity | Profile) -> int:
    return _uint64(said.label_version)


def profile(record: Record, said: Profile) -> list[Row]:
    """`profile_store`. Of two records of one profile the later said wins, the later written among equals."""
    return [
        (
            said.profile_id,
            list(said.members),
            _version(said),
            said.merged_into,
            said.split_from,
            [tuple(pair) for pair in said.identifiers],
            _text(said.traits),
            _text(said.computed),
            _counts(said.counters),
            instant(said.first_seen_ms),
            instant(said.last_seen_ms),
            list(said.segments),
            instant(said.updated_ms),
            instant(said.updated_ms) << _OFFSET_BITS | record.offset & ((1 << _OFFSET_BITS) - 1),
        )
    ]


def transition(_record: Record, said: Transition) -> list[Row]:
    """`transitions`."""
    return [
        (
            said.profile_id,
            said.segment,
            _uint64(said.seq),
            said.segment_version,
            said.op,
            instant(said.at_ms),
            instant(said.evaluated_ms),
            said.cause,
            said.event_id,
        )
    ]


def account_traits(_record: Record, said: Grouped) -> list[Row]:
    """`account_trait_store`: one row per trait that an event gave an account."""
    if said.profile_id:
        return []
    return [(said.group_id, said.name, trait, register) for trait, register in _registers(said).items()]


def contribution(_record: Record, said: Grouped) -> list[Row]:
    """`contribution_store`."""
    if not said.profile_id:
        return []
    return [
        (
            said.group_id,
            said.profile_id,
            said.kind,
            said.name,
            said.present,
            _uint64(said.seq),
            _uint32(said.rank),
            _uint32(said.most),
            _registers(said),
            _counts(said.counters),
            instant(said.at_ms),
        )
    ]


def _registers(said: Grouped) -> dict[str, tuple[int, str, str]]:
    return {name: (_int64(at_ms), message, _JSON.encode(value).decode()) for name, (value, at_ms, message) in said.traits.items()}


def delivery(_record: Record, said: Delivery) -> list[Row]:
    """`deliveries`."""
    return [
        (
            said.key,
            said.state,
            _uint32(said.attempts),
            said.destination,
            said.profile_id,
            said.segment,
            said.op,
            _uint64(said.seq),
            said.verdict,
            min(max(said.status, 0), 65_535),
            said.detail,
            instant(said.transition_ms),
            instant(said.at_ms),
        )
    ]


def quarantine(_record: Record, said: Quarantined) -> list[Row]:
    """`quarantine`; nothing for one that only says what became of an earlier one."""
    if said.settled:
        return []
    return [
        (
            said.id,
            said.stage,
            said.reason,
            said.detail,
            said.source,
            said.topic,
            min(max(said.partition, -_MAX_INT32), _MAX_INT32),
            _int64(said.offset),
            said.raw,
            instant(said.at_ms),
            said.counted,
        )
    ]


def settlement(_record: Record, said: Quarantined) -> list[Row]:
    """`settlements`."""
    return [(said.id, said.settled, said.by, said.because, instant(said.at_ms))] if said.settled else []
