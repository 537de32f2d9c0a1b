"""An INSERT with data, in a way that an answer of success is true.

The engine's streaming insert reports success also when the write failed at its end: a full disk, a constraint, a default, a
materialized column or a view that throws, a limit of time, a KILL. Its error is noted inside the engine and never handed out.

So the data goes into a temporary table in memory, where nothing but memory can fail, and which stores all rows or none. Then
`INSERT INTO target SELECT ... FROM it` moves them. That statement raises whatever the target, its views or the disk object to, and
it counts what it has written. Only an INSERT whose rows have all been written is acknowledged.

Example: `INSERT INTO t (a) FORMAT CSV` with `1\\n2\\n` becomes

    CREATE OR REPLACE TEMPORARY TABLE _onefold_insert (`a` UInt8) ENGINE = Memory
    INSERT INTO _onefold_insert (`a`) FORMAT CSV          the stream: 2 rows read
    INSERT INTO t (a) SELECT `a` FROM _onefold_insert     raises, or has written 2
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from embedded.clickhouse.insert_plan import InsertPlan, plan_insert
from embedded.clickhouse.protocol import QueryRefused, quote_literal
from embedded.clickhouse.statement_scan import InsertHead

if TYPE_CHECKING:
    from embedded.clickhouse.engine import EngineConnection, EngineInsert

MAX_INSERT_BYTES: Final = 256 << 20
MAX_INSERT_ROWS: Final = 20_000_000
STAGE: Final = "_onefold_insert"
# The temporary table takes every type that its target has, and the query log has the move alone.
STAGE_SETTINGS: Final = {
    "log_queries": "0",
    "flatten_nested": "0",
    "allow_suspicious_low_cardinality_types": "1",
    "allow_suspicious_fixed_string_types": "1",
    "allow_suspicious_variant_types": "1",
    "allow_suspicious_types_in_order_by": "1",
}
# Limits of reading are none of an INSERT's, and a limit of time must raise. The rows have an order, so blocks can be deduplicated.
_STREAM_SETTINGS: Final = "async_insert = 0, timeout_overflow_mode = 'throw'"
_MOVE_SETTINGS: Final = (
    "SETTINGS max_threads = 1, max_insert_threads = 1, deduplicate_insert_select = 'enable_even_for_bad_queries', limit = 0, "
    "offset = 0, max_rows_to_read = 0, max_bytes_to_read = 0, timeout_overflow_mode = 'throw', log_queries = 1"
)
# Data without a row is short: a header, an empty list, an empty block.
_EMPTY_DATA_BYTES: Final = 64 << 10
_DESCRIBE_SETTINGS: Final = (
    "SETTINGS describe_compact_output = 0, describe_include_subcolumns = 0, describe_extend_object_types = 0"
)


@dataclass(frozen=True, slots=True)
class _Column:
    """`kind`: DEFAULT, MATERIALIZED, ALIAS, EPHEMERAL or empty; `expression`: of that kind."""

    name: str
    type: str
    kind: str
    expression: str

    def definition(self, *, is_listed: bool) -> str:
        """Return the column of the temporary table.

        A column of the INSERT has the expression that fills gaps in the data. Every other one is computed where such an expression
        reads it, and not stored.
        """
        name = quote_name(self.name)
        if not is_listed:
            return f"{name} {self.type} ALIAS {self.expression or f'defaultValueOfTypeName({quote_literal(self.type)})'}"
        fills_gaps = self.kind in {"DEFAULT", "EPHEMERAL"} and self.expression
        return f"{name} {self.type} DEFAULT {self.expression}" if fills_gaps else f"{name} {self.type}"


@dataclass(frozen=True, slots=True)
class InsertCounts:
    """What an INSERT wrote: into its target and the tables of its views."""

    rows: int
    bytes: int


class StagedInsert:
    """One INSERT on `connection`, which nothing else uses until `finish` or `discard` has returned. Every call may take long."""

    def __init__(self, connection: "EngineConnection", head: InsertHead) -> None:
        """Make the temporary table.

        Raises:
            QueryRefused: when the statement names no table, or a column that the table lacks.
            RuntimeError: the engine's own error.
        """
        self._connection, self._head = connection, head
        plan = plan_insert(head.statement)
        described = _describe(connection, f"TABLE {plan.target}")
        self._columns = _listed_columns(connection, plan, described)
        self._first, self._size = bytearray(), 0
        definitions = _definitions(self._columns, described)
        connection.query(f"CREATE OR REPLACE TEMPORARY TABLE {STAGE} ({definitions}) ENGINE = Memory", "Null")
        names = ", ".join(quote_name(column.name) for column in self._columns)
        self._move = f"{head.statement} SELECT {names} FROM {STAGE} {_MOVE_SETTINGS}"  # noqa: S608 - quoted names
        clause = f"{plan.settings}, {_STREAM_SETTINGS}" if plan.settings else f"SETTINGS {_STREAM_SETTINGS}"
        self._stream: EngineInsert = connection.send_insert(f"INSERT INTO {STAGE} ({names}) {clause}", head.format)

    def append(self, data: bytes) -> None:
        """Take the next part of the data.

        Raises:
            QueryRefused: 307 when it is more than an INSERT may bring.
            RuntimeError: the engine's own error, for data that it cannot read.
        """
        self._size += len(data)
        if self._size > MAX_INSERT_BYTES:
            raise QueryRefused(
                307, f"An INSERT brings at most {MAX_INSERT_BYTES} bytes of data: send it in several", "TOO_MANY_BYTES"
            )
        if len(self._first) < _EMPTY_DATA_BYTES:
            self._first += data[:_EMPTY_DATA_BYTES]
        if data:
            self._stream.append(data)

    def finish(self) -> InsertCounts:
        """Move the rows to the target, and return what was written once all of them are there.

        Raises:
            QueryRefused: 236 when rows are missing for a reason that the engine does not give, 158 when there are too many.
            RuntimeError: the engine's own error, from the data, the target, its views or the disk.
        """
        read = self._stream.finish().rows_written
        if not read and self._has_rows():
            raise _rows_missing(0, "were read")
        if read > MAX_INSERT_ROWS:
            raise QueryRefused(158, f"An INSERT brings at most {MAX_INSERT_ROWS} rows: send it in several", "TOO_MANY_ROWS")
        moved = self._connection.query(self._move, "Null")
        if moved.rows_written() < read:
            raise _rows_missing(moved.rows_written(), f"of {read} were written")
        return InsertCounts(moved.rows_written(), moved.bytes_written())

    def discard(self) -> None:
        """Give back the memory; when `finish` has not begun, the target stays as it was. Raises RuntimeError."""
        self._stream.cancel()
        self._connection.query(f"DROP TEMPORARY TABLE IF EXISTS {STAGE}", "Null")

    def _has_rows(self) -> bool:
        """Tell whether data that left no row should have left some: then the stream failed without a word."""
        if not self._size:
            return False
        if self._size > len(self._first):
            return True
        structure = ", ".join(f"{quote_name(column.name)} {column.type}" for column in self._columns)
        arguments = f"{self._head.format}, {quote_literal(structure)}, unhex('{self._first.hex()}')"
        sql = f"SELECT count() FROM format({arguments})"  # noqa: S608 - a checked name, quoted text, and hex digits
        return self._connection.query(sql, "TSV").bytes() != b"0\n"


def quote_name(name: str) -> str:
    """Quote a name as an identifier of ClickHouse."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _describe(connection: "EngineConnection", what: str) -> list[_Column]:
    rows = connection.query(f"DESCRIBE {what} {_DESCRIBE_SETTINGS}", "JSONCompactEachRow").bytes().decode().splitlines()
    return [_Column(*json.loads(row)[:4]) for row in rows]


def _listed_columns(connection: "EngineConnection", plan: InsertPlan, described: Sequence[_Column]) -> list[_Column]:
    """Return the columns that the data has, in its order."""
    if not plan.columns:
        return [column for column in described if column.kind in {"", "DEFAULT"}]
    names = plan.names
    if names is None:
        names = tuple(column.name for column in _describe(connection, f"(SELECT {plan.columns} FROM {plan.target})"))  # noqa: S608
    by_name = {column.name: column for column in described}
    if missing := [name for name in names if name not in by_name]:
        raise QueryRefused(16, f"No such column {missing[0][:64]!a} in table {plan.target[:128]}", "NO_SUCH_COLUMN_IN_TABLE")
    return [by_name[name] for name in names]


def _definitions(listed: Sequence[_Column], described: Sequence[_Column]) -> str:
    definitions = [column.definition(is_listed=True) for column in listed]
    if any(column.kind in {"DEFAULT", "EPHEMERAL"} for column in listed):
        names = {column.name for column in listed}
        definitions += [column.definition(is_listed=False) for column in described if column.name not in names]
    return ", ".join(definitions)


def _rows_missing(count: int, what: str) -> QueryRefused:
    return QueryRefused(
        236,
        f"Only {count} rows {what}, and the engine gave no reason: the INSERT was killed or reached a limit. Send it again",
        "ABORTED",
    )
