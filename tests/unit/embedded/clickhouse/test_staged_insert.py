# ruff: noqa: A002, ARG002 - the signatures of the engine
"""What an INSERT answers when the engine keeps its reasons to itself, and that such an engine is not served."""

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from embedded.clickhouse.insert_canaries import refuse_unless_inserts_raise
from embedded.clickhouse.protocol import QueryRefused
from embedded.clickhouse.staged_insert import MAX_INSERT_BYTES, MAX_INSERT_ROWS, StagedInsert
from embedded.clickhouse.statement_scan import InsertHead
from runtime.errors import Misconfigured

HEAD = InsertHead("INSERT INTO t", "TSV", 0)


@dataclass
class StatementResult:
    """The result of a statement or of a stream."""

    data: bytes = b""
    rows: int = 0

    def bytes(self) -> bytes:
        return self.data

    def rows_written(self) -> int:
        return self.rows

    def bytes_written(self) -> int:
        return self.rows * 8


@dataclass
class ObligingStream:
    """A streaming insert that has read so many rows."""

    rows: int
    elapsed: float = 0.0
    bytes_written: int = 0

    @property
    def rows_written(self) -> int:
        return self.rows

    def append(self, _data: bytes) -> None:
        return

    def finish(self) -> "ObligingStream":
        return self

    def cancel(self) -> None:
        return


@dataclass
class ObligingEngine:
    """An engine that answers every statement with success: `read` rows of the stream, of which `moved` are written."""

    read: int = 1
    moved: int = 1
    rows_in_data: int = 0
    errors: dict[str, str] = field(default_factory=dict)
    statements: list[str] = field(default_factory=list)

    def query(self, query: str, format: str = "CSV", params: Any = None) -> Any:
        self.statements.append(query)
        if error := next((error for part, error in self.errors.items() if part in query), None):
            raise RuntimeError(error)
        if query.startswith("DESCRIBE"):
            return StatementResult(json.dumps(["a", "UInt8", "", ""]).encode())
        if "format(" in query:
            return StatementResult(b"%d\n" % self.rows_in_data)
        return StatementResult(b"1\n", self.moved)

    def send_query(self, query: str, format: str = "CSV", params: Any = None) -> Any:
        raise NotImplementedError

    def send_insert(self, query: str, format: str = "CSV") -> Any:
        self.statements.append(query)
        return ObligingStream(self.read)

    def close(self) -> None:
        return


def insert(engine: ObligingEngine, data: bytes = b"1\n") -> int:
    staged = StagedInsert(engine, HEAD)
    staged.append(data)
    return staged.finish().rows


def test_all_rows_that_were_read_and_written_are_acknowledged() -> None:
    assert insert(ObligingEngine(read=3, moved=3)) == 3
    assert insert(ObligingEngine(read=3, moved=6)) == 6  # with those of a view


@pytest.mark.parametrize(
    "engine", [ObligingEngine(read=3, moved=2), ObligingEngine(read=3, moved=0), ObligingEngine(read=0, moved=0, rows_in_data=1)]
)
def test_rows_that_are_missing_without_a_reason_are_an_error(engine: ObligingEngine) -> None:
    with pytest.raises(QueryRefused, match=r"Code: 236\..*ABORTED"):
        insert(engine)


def test_much_data_that_leaves_no_row_is_an_error_and_no_data_is_none() -> None:
    with pytest.raises(QueryRefused, match="Code: 236"):
        insert(ObligingEngine(read=0, moved=0), b" " * (1 << 17))
    assert insert(ObligingEngine(read=0, moved=0), b"") == 0
    assert insert(ObligingEngine(read=0, moved=0), b"a\n") == 0


def test_an_insert_is_bounded_in_bytes_and_rows() -> None:
    staged = StagedInsert(ObligingEngine(), HEAD)
    staged.append(b"x" * MAX_INSERT_BYTES)
    with pytest.raises(QueryRefused, match="Code: 307"):
        staged.append(b"x")
    engine = ObligingEngine(read=MAX_INSERT_ROWS + 1)
    with pytest.raises(QueryRefused, match="Code: 158"):
        insert(engine)
    assert not any(statement.startswith("INSERT INTO t") for statement in engine.statements)


def test_an_engine_that_calls_refused_rows_stored_is_not_served() -> None:
    with pytest.raises(Misconfigured, match="a violated constraint"):
        refuse_unless_inserts_raise(ObligingEngine())


def test_an_engine_that_refuses_good_rows_is_not_served() -> None:
    refusing = ObligingEngine(errors={"INSERT INTO _onefold_canary": "Code: 469. Code: 395. Code: 159."})
    with pytest.raises(Misconfigured, match="a row that nothing refuses"):
        refuse_unless_inserts_raise(refusing)
