"""Stores every row that ClickHouse takes, and finds those that it never will, by halving the batch.

Example: of 8 rows the sixth violates a constraint. The inserts are 1-8 (refused), 1-4 (stored), 5-8 (refused), 5-6 (refused),
5 (stored), 6 (refused: this is the row), 7-8 (stored). A fault that may pass ends the search and repeats nothing that matters:
rows that are inserted again replace themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from runtime.errors import Transient
from warehouse.error_codes import BatchTooLarge, RowsRefused
from warehouse.rows import TableRow
from warehouse.tables import Table
from warehouse.writer import WarehouseWriter

MAX_REFUSED_ALONE: Final = 64
"""A table that refuses so many rows and takes none is at fault itself: an operator must correct it, and nothing is given up."""


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """The row at `index` of a batch, which the table never takes, and why in ClickHouse's words without values."""

    index: int
    detail: str


async def insert_accepted(writer: WarehouseWriter, table: Table, rows: Sequence[TableRow]) -> list[RefusedRow]:
    """Insert rows and return those that ClickHouse refuses for ever; all others are durable then.

    Raises Transient when a fault may pass, or when the table takes nothing at all.
    """
    refused: list[RefusedRow] = []
    stored = 0
    waiting = [(0, len(rows))] if rows else []
    while waiting:
        start, end = waiting.pop()
        try:
            await writer.insert(table, rows[start:end])
            stored += end - start
        except (RowsRefused, BatchTooLarge) as error:
            middle = (start + end) // 2
            if middle > start:
                waiting += [(middle, end), (start, middle)]
                continue
            if isinstance(error, BatchTooLarge):
                raise
            refused.append(RefusedRow(start, str(error)))
            if not stored and len(refused) >= MAX_REFUSED_ALONE:
                raise Transient(f"the table {table.name} takes no row ({error}): correct the table, nothing is lost") from error
    return refused
