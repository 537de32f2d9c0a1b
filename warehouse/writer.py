"""The writes of the consumers to ClickHouse: rows of a table, and the offsets up to which rows were inserted. Driver and twin."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from warehouse import named_queries
from warehouse.client import Warehouse
from warehouse.rows import TableRow
from warehouse.tables import POSITIONS, Table


class WarehouseWriter(Protocol):
    """The writer of a consumer. Methods raise Transient when ClickHouse does not answer; inserting rows again changes nothing."""

    async def insert(self, table: Table, rows: Sequence[TableRow]) -> None:
        """Insert rows; they are durable when the call returns.

        Raises RowsRefused when one of them can never be stored, BatchTooLarge when fewer may fit.
        """
        ...

    async def positions(self, topic: str) -> dict[int, int]:
        """Return the next offset to insert by partition, as saved last; a partition without one is missing."""
        ...

    async def save_positions(self, topic: str, positions: Mapping[int, int]) -> None:
        """Save the next offsets, after their rows were inserted. A smaller offset than the saved one is ignored."""
        ...

    async def ping(self) -> None:
        """Return when ClickHouse answers; raise Transient when it does not answer in time."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


class ClickHouseWriter:
    """Inserts blocks in ClickHouse's Native format; the engines of the tables remove rows that were inserted twice."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse

    async def insert(self, table: Table, rows: Sequence[TableRow]) -> None:
        await self._warehouse.insert(table, rows)

    async def positions(self, topic: str) -> dict[int, int]:
        return dict(await named_queries.fetch_rows(self._warehouse, "positions", topic=topic))

    async def save_positions(self, topic: str, positions: Mapping[int, int]) -> None:
        parameters = {"topic": topic, "partitions": list(positions), "offsets": list(positions.values())}
        await self._warehouse.command(named_queries.query_text("save_positions"), parameters)

    async def ping(self) -> None:
        await self._warehouse.ping()

    async def aclose(self) -> None:
        await self._warehouse.aclose()


class MemoryWriter:
    """The in-memory twin for tests: rows by table and key, which replace each other as the engine of the table would do it."""

    def __init__(self) -> None:
        self._rows_by_table: dict[str, dict[TableRow, TableRow]] = {}

    async def insert(self, table: Table, rows: Sequence[TableRow]) -> None:
        rows_by_key = self._rows_by_table.setdefault(table.name, {})
        for row in rows:
            key = tuple(row[table.column_index(column)] for column in table.key)
            existing = rows_by_key.get(key)
            if existing is None or _replaces(table, row, existing):
                rows_by_key[key] = row if existing is None else _merge_rows(table, row, existing)

    async def positions(self, topic: str) -> dict[int, int]:
        return {partition: offset for row_topic, partition, offset in self.rows(POSITIONS) if row_topic == topic}

    async def save_positions(self, topic: str, positions: Mapping[int, int]) -> None:
        await self.insert(POSITIONS, [(topic, partition, offset) for partition, offset in positions.items()])

    async def ping(self) -> None:
        """Return at once."""

    async def aclose(self) -> None:
        """Do nothing."""

    def rows(self, table: Table) -> list[TableRow]:
        """Return what `SELECT … FINAL` would return, ordered by the key."""
        return [row for _, row in sorted(self._rows_by_table.get(table.name, {}).items())]


def _merge_rows(table: Table, row: TableRow, existing: TableRow) -> TableRow:
    """Return the row that remains of two rows with the same key."""
    if not table.min_columns:
        return row
    min_indices = {table.column_index(column) for column in table.min_columns}
    return tuple(min(new, old) if index in min_indices else new for index, (new, old) in enumerate(zip(row, existing, strict=True)))


def _replaces(table: Table, row: TableRow, existing: TableRow) -> bool:
    if table.version is None:
        return True
    version_index = table.column_index(table.version)
    return bool(
        row[version_index] <= existing[version_index] if table.first_wins else row[version_index] >= existing[version_index]
    )
