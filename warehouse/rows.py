"""Turns records of the topics into rows of the tables. Pure: equal records give equal rows, so a replay changes nothing."""

import base64
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from domain.definitions.kinds import InvalidDefinition
from domain.definitions.topic_records import decode_key
from domain.identity.evidence import edge_of_link
from domain.identity.model import Edge
from runtime.bus.port import Record
from schemas.events import EVENT_VERSION, Event
from schemas.hashes import short_hash
from schemas.quarantine import raw_bytes
from schemas.reasons import Reason
from schemas.records import Delivery, GroupRecord, Identity, Link, LinkDecision, LinkRecord, Profile, QuarantineRecord, Transition

TableRow = tuple[Any, ...]

_MAX_DATETIME64_MS: Final = 10_413_791_999_999
"""The end of the year 2299, the last instant that a DateTime64 can show."""
_MAX_INT64: Final = 2**63 - 1
_MAX_UINT64: Final = 2**64 - 1
_MAX_UINT32: Final = 2**32 - 1
_MAX_INT32: Final = 2**31 - 1
_OFFSET_BITS: Final = 20
_JSON: Final = msgspec.json.Encoder()


def datetime64(at_ms: int) -> int:
    """Return milliseconds within the range of ClickHouse's DateTime64(3)."""
    return min(max(at_ms, 0), _MAX_DATETIME64_MS)


def _int64(number: int) -> int:
    return min(max(number, -_MAX_INT64), _MAX_INT64)


def _uint64(number: int) -> int:
    return min(max(number, 0), _MAX_UINT64)


def _uint32(number: int) -> int:
    return min(max(number, 0), _MAX_UINT32)


def _counts(counters: Mapping[str, int]) -> dict[str, int]:
    return {name: _uint64(count) for name, count in counters.items()}


def _json_text(value: Mapping[str, Any]) -> str:
    return _JSON.encode(value).decode()


def event_row(record: Record, event: Event) -> TableRow:
    """Return the row of `event_store`."""
    return (
        event.owner,
        event.id,
        event.type,
        event.name,
        event.source,
        datetime64(event.time_ms),
        datetime64(event.received_ms),
        list(event.nodes),
        [tuple(pair) for pair in event.identifiers],
        _json_text(event.properties),
        _json_text(event.traits),
        _json_text(event.context),
        list(event.flags),
        [tuple(violation) for violation in event.violations],
        [tuple(violation) for violation in event.observed],
        event.trusted,
        record.partition,
        record.offset,
    )


def event_from_row(row: Iterable[object]) -> Event:
    """Return the event of a row of the named query `events`: the inverse of `event_row`, without partition and offset."""
    owner, message, kind, name, source, time_ms, received_ms, nodes, identifiers, properties, traits, context, flags, trusted = row
    return msgspec.convert(
        {
            "version": EVENT_VERSION,
            "id": message,
            "type": kind,
            "name": name,
            "source": source,
            "time_ms": time_ms,
            "received_ms": received_ms,
            "owner": owner,
            "nodes": nodes,
            "identifiers": identifiers,
            "properties": msgspec.json.decode(str(properties)),
            "traits": msgspec.json.decode(str(traits)),
            "context": msgspec.json.decode(str(context)),
            "flags": flags,
            "trusted": trusted,
        },
        Event,
    )


def stored_ledger_row(record: Record, event: Event) -> TableRow:
    """Return the row of `ledger` for an event that is stored now, or was stored before (a duplicate)."""
    return (
        record.partition,
        record.offset,
        event.owner,
        short_hash(event.id),
        "stored",
        "",
        event.source,
        event.label,
        datetime64(event.received_ms),
    )


def quarantined_ledger_row(record: Record, reason: Reason) -> TableRow:
    """Return the row of `ledger` for a record that cannot be decoded, or that the events table refuses."""
    return (record.partition, record.offset, "", "", "quarantined", str(reason), "", "", 0)


def evidence_row(a: str, b: str, edge: Edge) -> TableRow:
    """Return the row of `pair_evidence`: the smallest `first` and the smallest `last` are what `Edge.join` chooses."""
    return (
        a,
        b,
        (int(not edge.trusted), _int64(edge.first_ms), edge.first_event, edge.source, edge.owner, edge.rule, edge.rules),
        (int(not edge.trusted), -_int64(edge.last_day), _int64(edge.last_ms), edge.last_event),
    )


def evidence_rows(_record: Record, link_record: LinkRecord) -> list[TableRow]:
    """Return the row of `pair_evidence` for a link; other records have none."""
    return [evidence_row(link_record.a, link_record.b, edge_of_link(link_record))] if isinstance(link_record, Link) else []


def decision_rows(_record: Record, link_record: LinkRecord) -> list[TableRow]:
    """Return the rows of `decision_store`, one for each pair of the decision."""
    if not isinstance(link_record, LinkDecision):
        return []
    at_ms = _int64(link_record.at_ms)
    return [
        (
            link_record.operation,
            link_record.action,
            kind,
            a,
            b,
            link_record.on,
            at_ms,
            link_record.of,
            link_record.by,
            link_record.reason,
        )
        for kind, a, b in link_record.pairs
    ]


def identity_rows(_record: Record, identity: Identity) -> list[TableRow]:
    """Return the row of `identity_store`."""
    return [
        (
            identity.profile_id,
            _label_version(identity),
            list(identity.members),
            identity.merged_into,
            identity.split_from,
            identity.cause,
            datetime64(identity.at_ms),
        )
    ]


def label_rows(_record: Record, identity: Identity) -> list[TableRow]:
    """Return the rows of `labels`, one for each member. A dissolved profile has none: its nodes are members of other profiles."""
    return [(node, identity.profile_id, _label_version(identity)) for node in identity.members]


def _label_version(record: Identity | Profile) -> int:
    return _uint64(record.label_version)


def profile_rows(record: Record, profile: Profile) -> list[TableRow]:
    """Return the row of `profile_store`. Of two records of a profile the later one wins, of one instant the larger offset."""
    return [
        (
            profile.profile_id,
            list(profile.members),
            _label_version(profile),
            profile.merged_into,
            profile.split_from,
            [tuple(pair) for pair in profile.identifiers],
            _json_text(profile.traits),
            _json_text(profile.computed),
            _counts(profile.counters),
            datetime64(profile.first_seen_ms),
            datetime64(profile.last_seen_ms),
            list(profile.segments),
            datetime64(profile.updated_ms),
            datetime64(profile.updated_ms) << _OFFSET_BITS | record.offset & ((1 << _OFFSET_BITS) - 1),
        )
    ]


def transition_rows(record: Record, transition: Transition) -> list[TableRow]:
    """Return the row of `transitions`, with the place of the record."""
    return [
        (
            transition.profile_id,
            transition.segment,
            _uint64(transition.seq),
            transition.segment_version,
            transition.op,
            datetime64(transition.at_ms),
            datetime64(transition.evaluated_ms),
            transition.cause,
            transition.event_id,
            record.partition,
            record.offset,
        )
    ]


def account_trait_rows(_record: Record, grouped: GroupRecord) -> list[TableRow]:
    """Return the rows of `account_trait_registers`, one for each trait of an account."""
    if grouped.profile_id:
        return []
    return [(grouped.group_id, grouped.name, trait, register) for trait, register in _trait_registers(grouped).items()]


def contribution_rows(_record: Record, grouped: GroupRecord) -> list[TableRow]:
    """Return the row of `contribution_store` for the contribution of a profile; traits of an account have none."""
    if not grouped.profile_id:
        return []
    return [
        (
            grouped.group_id,
            grouped.profile_id,
            grouped.kind,
            grouped.name,
            grouped.present,
            _uint64(grouped.seq),
            _uint32(grouped.rank),
            _uint32(grouped.max_members),
            _trait_registers(grouped),
            _counts(grouped.counters),
            datetime64(grouped.at_ms),
        )
    ]


def _trait_registers(grouped: GroupRecord) -> dict[str, tuple[int, int, str, str]]:
    return {
        name: (int(trait.trusted), _int64(trait.time_ms), trait.id, _JSON.encode(trait.value).decode())
        for name, trait in grouped.traits.items()
    }


def delivery_rows(_record: Record, delivery: Delivery) -> list[TableRow]:
    """Return the row of `deliveries`."""
    return [
        (
            delivery.key,
            delivery.state,
            _uint32(delivery.attempts),
            delivery.destination,
            delivery.profile_id,
            delivery.segment,
            delivery.op,
            _uint64(delivery.seq),
            delivery.verdict,
            min(max(delivery.status, 0), 65_535),
            delivery.detail,
            datetime64(delivery.transition_ms),
            datetime64(delivery.at_ms),
            datetime64(delivery.next_ms),
        )
    ]


def quarantine_rows(_record: Record, quarantined: QuarantineRecord) -> list[TableRow]:
    """Return the row of `quarantine_rows`; a record that only settles an earlier one has none."""
    if quarantined.settled:
        return []
    return [
        (
            quarantined.id,
            quarantined.stage,
            quarantined.reason,
            quarantined.detail,
            quarantined.source,
            quarantined.topic,
            min(max(quarantined.partition, -_MAX_INT32), _MAX_INT32),
            _int64(quarantined.offset),
            _plain_raw(quarantined),
            datetime64(quarantined.at_ms),
            quarantined.counted,
        )
    ]


def _plain_raw(quarantined: QuarantineRecord) -> str:
    """Return the bytes in base64 alone: ClickHouse compresses its columns itself."""
    return quarantined.raw if not quarantined.encoding else base64.b64encode(raw_bytes(quarantined)).decode()


def definition_rows(record: Record) -> list[TableRow]:
    """Return the row of `definition_store`; a record whose key no definition can have has none.

    The value is kept as it lies on the topic, since a later version of Onefold may read what this one cannot. One that is not text
    takes the place of the definition that lay there before, as it does for every process.
    """
    try:
        key = decode_key(record.key)
    except InvalidDefinition:
        return []
    try:
        value = (record.value or b"").decode()
    except UnicodeDecodeError:
        value = ""
    return [(key, value, not value, record.offset, datetime64(record.timestamp_ms))]


def settlement_rows(_record: Record, quarantined: QuarantineRecord) -> list[TableRow]:
    """Return the row of `settlements` for a record that settles an earlier one."""
    return (
        [(quarantined.id, quarantined.settled, quarantined.by, quarantined.because, datetime64(quarantined.at_ms))]
        if quarantined.settled
        else []
    )
