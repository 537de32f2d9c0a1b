"""Turns a batch of records into rows by table, and into quarantine records for those that cannot be decoded. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from runtime.bus.port import Outgoing, Record
from runtime.settings import Settings
from schemas.codec import Undecodable, decode, encode
from schemas.quarantine import build_quarantine_record
from warehouse.batches import WarehouseBatch
from warehouse.rows import TableRow
from warehouse.tables import Table

T = TypeVar("T", bound=msgspec.Struct)
Builder = Callable[[Record, T], list[TableRow]]
Decide = Callable[[Sequence[Record], Settings, int], WarehouseBatch]
"""Maps (records, settings, now_ms) to a batch."""


@dataclass(frozen=True, slots=True)
class Feed:
    """A topic, by the register's name, and how its records become rows."""

    topic: str
    decide: Decide


def build_feed(topic: str, kind: type[T], builders: Mapping[Table, "Builder[T]"]) -> Feed:
    """Return a feed that decodes each record as `kind` and lets the builder of each table make its rows.

    A record that cannot be decoded goes into quarantine. It is not counted there: the account counts accepted events alone.
    """

    def decide(records: Sequence[Record], settings: Settings, now_ms: int) -> WarehouseBatch:
        batch = WarehouseBatch.of(builders)
        for record in records:
            if record.value is None:
                continue  # a compacted topic's deletion
            try:
                decoded = decode(kind, record.value)
            except Undecodable as error:
                batch.quarantine.append(_to_quarantine(record, error, settings, now_ms))
                continue
            for table, build in builders.items():
                batch.add(table, record, build(record, decoded))
        return batch

    return Feed(topic, decide)


def _to_quarantine(record: Record, error: Undecodable, settings: Settings, now_ms: int) -> Outgoing:
    coordinates = (record.topic, record.partition, record.offset)
    quarantine_record = build_quarantine_record(
        "consumers", coordinates, record.value, error.reason, error.detail, at_ms=now_ms, counted=False
    )
    return Outgoing(settings.topic("quarantine"), encode(quarantine_record))
