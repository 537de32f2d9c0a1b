"""What a consumer makes of a batch: rows by table, and quarantine records for what does not decode. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from warehouse.rows import Row
from warehouse.tables import Table
from runtime.bus.port import Outgoing, Record
from runtime.settings import Settings
from schemas.codec import Undecodable, decode, encode
from schemas.quarantine import quarantined as of_record

T = TypeVar("T", bound=msgspec.Struct)
Builder = Callable[[Record, T], list[Row]]


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows in the order that they are to be inserted in, and what is to be said on `quarantine`."""

    rows: Mapping[Table, Sequence[Row]]
    quarantine: Sequence[Outgoing] = ()


Decide = Callable[[Sequence[Record], Settings, int], Batch]
"""(records, settings, now_ms) → batch."""


@dataclass(frozen=True, slots=True)
class Feed:
    """A topic of the register and what becomes of its records."""

    topic: str
    decide: Decide


def feed(topic: str, kind: type[T], builders: Mapping[Table, "Builder[T]"]) -> Feed:
    """A feed that decodes each record as `kind` and hands it to the builder of each table; the rest is quarantined, uncounted."""

    def decide(records: Sequence[Record], settings: Settings, now_ms: int) -> Batch:
        rows: dict[Table, list[Row]] = {table: [] for table in builders}
        bad: list[Outgoing] = []
        for record in records:
            if record.value is None:
                continue  # a compacted topic's deletion
            try:
                said = decode(kind, record.value)
            except Undecodable as error:
                bad.append(_quarantined(record, error, settings, now_ms))
                continue
            for table, build in builders.items():
                rows[table] += build(record, said)
        return Batch(rows, bad)

    return Feed(topic, decide)


def _quarantined(record: Record, error: Undecodable, settings: Settings, now_ms: int) -> Outgoing:
    place = (record.topic, record.partition, record.offset)
    held = of_record("consumers", place, record.value, error.reason, error.detail, at_ms=now_ms, counted=False)
    return Outgoing(settings.topic("quarantine"), encode(held))
