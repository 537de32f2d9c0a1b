"""A batch of records as rows of tables, and its insertion: what is stored, what is refused, and what the ledger says of it."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from runtime.bus.port import Outgoing, Record
from runtime.errors import Transient
from runtime.settings import Settings
from schemas.codec import encode
from schemas.quarantine import build_quarantine_record
from schemas.reasons import Reason
from warehouse.refusals import RefusedRow, insert_accepted
from warehouse.rows import TableRow, quarantined_ledger_row
from warehouse.tables import LEDGER, QUARANTINE, SETTLEMENTS, Table
from warehouse.writer import WarehouseWriter

_MUST_TAKE_ALL: Final = (LEDGER, QUARANTINE, SETTLEMENTS)
"""The tables by which records are accounted for: a row that one of them refuses has nowhere else to go."""


@dataclass(frozen=True, slots=True)
class TableInsert:
    """What became of the rows of one table: so many stored, so many refused for ever (`detail` says why), in so many seconds."""

    table: Table
    stored: int
    refused: int
    detail: str
    seconds: float


OnInsert = Callable[[TableInsert], None]


@dataclass(slots=True)
class WarehouseBatch:
    """Rows by table, in the order of insertion, and for each row the record that it comes from; and records for `quarantine`."""

    rows: dict[Table, list[TableRow]]
    sources: dict[Table, list[Record]]
    quarantine: list[Outgoing] = field(default_factory=list)

    @classmethod
    def of(cls, tables: Iterable[Table]) -> "WarehouseBatch":
        """Return an empty batch for these tables."""
        tables = tuple(tables)
        return cls({table: [] for table in tables}, {table: [] for table in tables})

    def add(self, table: Table, record: Record, rows: Sequence[TableRow]) -> None:
        """Add the rows of a record."""
        self.rows[table] += rows
        self.sources[table] += [record] * len(rows)


async def insert_batch(
    writer: WarehouseWriter, batch: WarehouseBatch, settings: Settings, now_ms: int, on_insert: OnInsert
) -> list[Outgoing]:
    """Insert every row that ClickHouse takes, and return the records to publish on `quarantine`.

    A record of which a row is refused for ever is among them, and has the outcome `quarantined` in the ledger. Raises Transient
    when a fault may pass: then the whole batch may be inserted again.
    """
    refused: dict[Record, RefusedRow] = {}
    for table, rows in batch.rows.items():
        if not rows:
            continue
        sources, started = batch.sources[table], time.monotonic()
        refusals = await insert_accepted(writer, table, _outcomes(rows, sources, refused) if table is LEDGER else rows)
        detail = refusals[0].detail if refusals else ""
        on_insert(TableInsert(table, len(rows) - len(refusals), len(refusals), detail, time.monotonic() - started))
        if refusals and table in _MUST_TAKE_ALL:
            raise Transient(f"{table.name} must take every row ({detail}): correct the table, nothing is lost")
        refused |= {sources[refusal.index]: refusal for refusal in refusals}
    return [*batch.quarantine, *(_to_quarantine(record, refusal, settings, now_ms) for record, refusal in refused.items())]


def _outcomes(rows: Sequence[TableRow], sources: Sequence[Record], refused: Mapping[Record, RefusedRow]) -> Sequence[TableRow]:
    """Return the rows of the ledger, with another outcome for records that were refused."""
    if not refused:
        return rows
    return [
        quarantined_ledger_row(source, Reason.STORE_REFUSED) if source in refused else row
        for row, source in zip(rows, sources, strict=True)
    ]


def _to_quarantine(record: Record, refusal: RefusedRow, settings: Settings, now_ms: int) -> Outgoing:
    """Return the quarantine record of a refused record; only accepted events count in the account."""
    quarantine_record = build_quarantine_record(
        "consumers",
        (record.topic, record.partition, record.offset),
        record.value,
        Reason.STORE_REFUSED,
        refusal.detail,
        at_ms=now_ms,
        counted=record.topic == settings.topic("events"),
    )
    return Outgoing(settings.topic("quarantine"), encode(quarantine_record))
