"""What the consumers ask of ClickHouse: insert rows of a table, and remember up to where. Driver and in-memory twin."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from warehouse import named_queries as reads
from warehouse.client import Warehouse
from warehouse.rows import Row
from warehouse.tables import POSITIONS, Table


class Writer(Protocol):
    """All methods raise Transient when the store cannot be reached within their bound. Inserting rows again changes nothing."""

    async def insert(self, table: Table, rows: Sequence[Row]) -> None:
        """Keep the rows; durable when it returns."""
        ...

    async def positions(self, topic: str) -> dict[int, int]:
        """The next offset to insert by partition, as last noted; a partition without any is missing."""
        ...

    async def note(self, topic: str, positions: Mapping[int, int]) -> None:
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

    async def insert(self, table: Table, rows: Sequence[Row]) -> None:
        await self._warehouse.insert(table, rows)

    async def positions(self, topic: str) -> dict[int, int]:
        return dict(await reads.ask(self._warehouse, "positions", topic=topic))

    async def note(self, topic: str, positions: Mapping[int, int]) -> None:
        await self._warehouse.insert(POSITIONS, [(topic, partition, offset) for partition, offset in positions.items()])

    async def ping(self) -> None:
        await self._warehouse.ping()

    async def aclose(self) -> None:
        await self._warehouse.aclose()


class MemoryWriter:
    """The twin: rows by table and key, replaced as the table says."""

    def __init__(self) -> None:
        self._kept: dict[str, dict[Row, Row]] = {}

    async def insert(self, table: Table, rows: Sequence[Row]) -> None:
        kept = self._kept.setdefault(table.name, {})
        for row in rows:
            key = tuple(row[table.index(column)] for column in table.key)
            held = kept.get(key)
            if held is None or _wins(table, row, held):
                kept[key] = row if held is None else _joined(table, row, held)

    async def positions(self, topic: str) -> dict[int, int]:
        return {partition: offset for held, partition, offset in self.rows(POSITIONS) if held == topic}

    async def note(self, topic: str, positions: Mapping[int, int]) -> None:
        await self.insert(POSITIONS, [(topic, partition, offset) for partition, offset in positions.items()])

    async def ping(self) -> None:
        """Always there."""

    async def aclose(self) -> None:
        """Nothing to close."""

    def rows(self, table: Table) -> list[Row]:
        """What `SELECT … FINAL` would answer, ordered by the key."""
        return [row for _, row in sorted(self._kept.get(table.name, {}).items())]


def _joined(table: Table, row: Row, held: Row) -> Row:
    """What stays of two rows with one key."""
    if not table.smallest:
        return row
    smallest = {table.index(column) for column in table.smallest}
    return tuple(min(new, old) if place in smallest else new for place, (new, old) in enumerate(zip(row, held, strict=True)))


def _wins(table: Table, row: Row, held: Row) -> bool:
    if table.version is None:
        return True
    at = table.index(table.version)
    return bool(row[at] <= held[at] if table.first_wins else row[at] >= held[at])
