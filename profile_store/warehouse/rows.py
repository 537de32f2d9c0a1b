"""Records of the topics as rows of the tables. Pure: the same record gives the same rows, so that a replay changes nothing."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from runtime.bus.port import Record
from schemas.codec import Undecodable
from schemas.events import Event
from schemas.hashes import short_hash
from schemas.records import Delivery, Link, Profile, Quarantined, Transition

Row = tuple[Any, ...]

_LATEST_MS: Final = 10_413_791_999_999
"""The end of the year 2299, the last instant that a DateTime64 can show."""
_MAX_UINT64: Final = 2**64 - 1
_OFFSET_BITS: Final = 20
_JSON: Final = msgspec.json.Encoder()


def instant(at_ms: int) -> int:
    """Milliseconds as ClickHouse's DateTime64(3) can hold them."""
    return min(max(at_ms, 0), _LATEST_MS)


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
        record.partition,
        record.offset,
    )


def stored(record: Record, said: Event) -> Row:
    """`ledger`, for an event that was kept (or had been before)."""
    return (record.partition, record.offset, said.owner, short_hash(said.id), "stored", "")


def quarantined(record: Record, error: Undecodable) -> Row:
    """`ledger`, for a record that does not decode."""
    return (record.partition, record.offset, "", "", "quarantined", str(error.reason))


def link(_record: Record, said: Link) -> list[Row]:
    """`links`."""
    return [(said.a, said.b, (said.first_ms, said.first_event, said.source), said.last_ms // 86_400_000)]


def profile(record: Record, said: Profile) -> list[Row]:
    """`profile_store`. Of two records of one profile the later said wins, the later written among equals."""
    return [
        (
            said.profile_id,
            list(said.members),
            said.label_version,
            said.merged_into,
            [tuple(pair) for pair in said.identifiers],
            _text(said.traits),
            {name: max(count, 0) for name, count in said.counters.items()},
            instant(said.first_seen_ms),
            instant(said.last_seen_ms),
            list(said.segments),
            instant(said.updated_ms),
            instant(said.updated_ms) << _OFFSET_BITS | record.offset & ((1 << _OFFSET_BITS) - 1),
        )
    ]


def labels(_record: Record, said: Profile) -> list[Row]:
    """`labels`: one row per member. A profile that was never linked needs none: its only node stands for itself."""
    if said.label_version <= 0:
        return []
    return [(node, said.profile_id, min(said.label_version, _MAX_UINT64)) for node in said.members]


def transition(_record: Record, said: Transition) -> list[Row]:
    """`transitions`."""
    return [
        (
            said.profile_id,
            said.segment,
            said.seq,
            said.segment_version,
            said.op,
            instant(said.at_ms),
            instant(said.evaluated_ms),
            said.cause,
            said.event_id,
        )
    ]


def delivery(_record: Record, said: Delivery) -> list[Row]:
    """`deliveries`."""
    return [
        (
            said.key,
            said.state,
            said.attempts,
            said.destination,
            said.profile_id,
            said.segment,
            said.op,
            said.seq,
            said.verdict,
            min(max(said.status, 0), 65_535),
            said.detail,
            instant(said.transition_ms),
            instant(said.at_ms),
        )
    ]


def quarantine(_record: Record, said: Quarantined) -> list[Row]:
    """`quarantine`."""
    return [
        (
            said.id,
            said.stage,
            said.reason,
            said.detail,
            said.source,
            said.topic,
            said.partition,
            said.offset,
            said.raw,
            instant(said.at_ms),
            said.counted,
        )
    ]
