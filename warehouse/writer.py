"""What the consumers ask of ClickHouse: insert rows of a table, and remember up to where. Driver and in-memory twin."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from warehouse import named_queries
from warehouse.client import Warehouse
from warehouse.rows import TableRow
from warehouse.tables import POSITIONS, Table


class WarehouseWriter(Protocol):
    """All methods raise Transient when the store cannot be reached within their bound. Inserting rows again changes nothing."""

    async def insert(self, table: Table, rows: Sequence[TableRow]) -> None:
        """Keep the rows; durable when it returns."""
        ...

    async def positions(self, topic: str) -> dict[int, int]:
        """The next offset to insert by partition, as last noted; a partition without any is missing."""
        ...

    async def save_positions(self, topic: str, positions: Mapping[int, int]) -> None:
        """Note the next offsets; to be called after their rows are inserted. They never go back."""
        ...

    async def ping(self) -> None:
        """Ask the store; raises Transient when it does not answer in time."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


class ClickHouseWriter:
    """Blocks in ClickHouse's Native format; the engines of the tables make a replay harmless."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse

    async def insert(self, table: Table, rows: Sequence[TableRow]) -> None:
        await self._warehouse.insert(table, rows)

    async def positions(self, topic: str) -> dict[int, int]:
        return dict(await named_queries.fetch_rows(self._warehouse, "positions", topic=topic))

    async def save_positions(self, topic: str, positions: Mapping[int, int]) -> None:
        await self._warehouse.insert(POSITIONS, [(topic, partition, offset) for partition, offset in positions.items()])

    async def ping(self) -> None:
        await self._warehouse.ping()

    async def aclose(self) -> None:
        await self._warehouse.aclose()


class MemoryWriter:
    """The twin: rows by table and key, replaced as the table says."""

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
        """Always there."""

    async def aclose(self) -> None:
        """Nothing to close."""

    def rows(self, table: Table) -> list[TableRow]:
        """What `SELECT … FINAL` would answer, ordered by the key."""
        return [row for _, row in sorted(self._rows_by_table.get(table.name, {}).items())]


def _merge_rows(table: Table, row: TableRow, existing: TableRow) -> TableRow:
    """What stays of two rows with one key."""
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
