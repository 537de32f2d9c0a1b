"""Proof at the start that an INSERT which fails says so: each of these must raise its error, and a good row must arrive."""

from typing import TYPE_CHECKING, Final

from embedded.clickhouse.protocol import QueryRefused
from embedded.clickhouse.staged_insert import STAGE_SETTINGS, StagedInsert
from embedded.clickhouse.statement_scan import InsertHead
from runtime.errors import Misconfigured

if TYPE_CHECKING:
    from embedded.clickhouse.engine import EngineConnection

_CANARY: Final = "_onefold_canary"
_REFUSALS: Final = (
    ("a violated constraint", "a UInt8, CONSTRAINT small CHECK a < 10", "", ("Code: 469.",)),
    ("a materialized column that throws", "a UInt8, b UInt8 MATERIALIZED throwIf(a = 11)", "", ("Code: 395.",)),
    ("a default that throws", "a UInt8, b UInt8 DEFAULT throwIf(a = 11)", " (a)", ("Code: 395.",)),
    # On a busy machine the limit ends the stream before the move: its error has no reason then, and another code.
    (
        "a limit of time",
        "a UInt8, b UInt8 MATERIALIZED sleepEachRow(0.02)",
        " SETTINGS max_execution_time = 0.01",
        ("Code: 159.", "Code: 236."),
    ),
)


def refuse_unless_inserts_raise(connection: "EngineConnection") -> None:
    """Insert a row that each canary refuses, and one that is good.

    Raises:
        Misconfigured: when a refused row passes for stored, or the good one does not arrive.
    """
    connection.query("SET " + ", ".join(f"{name} = {value}" for name, value in STAGE_SETTINGS.items()), "Null")
    for what, columns, clause, codes in _REFUSALS:
        error = _insert_error(connection, columns, clause)
        if not any(code in error for code in codes):
            raise _unsafe(what)
    if _insert_error(connection, "a UInt8", ""):
        raise _unsafe("a row that nothing refuses")


def _insert_error(connection: "EngineConnection", columns: str, clause: str) -> str:
    """Return the error of inserting 11 into a table of these columns; empty when the row is there."""
    connection.query(f"CREATE TEMPORARY TABLE {_CANARY} ({columns}) ENGINE = Memory", "Null")
    try:
        insert = StagedInsert(connection, InsertHead(f"INSERT INTO {_CANARY}{clause}", "TSV", 0))
        insert.append(b"11\n")
        insert.finish()
        is_there = connection.query(f"SELECT count() FROM {_CANARY}", "TSV").bytes() == b"1\n"  # noqa: S608 - a constant
    except (RuntimeError, QueryRefused) as error:
        return str(error)
    finally:
        connection.query(f"DROP TEMPORARY TABLE {_CANARY}", "Null")
    return "" if is_there else "no row"


def _unsafe(what: str) -> Misconfigured:
    return Misconfigured(
        f"the ClickHouse engine acknowledges or loses rows wrongly ({what}), so it is not served: install the pinned chdb-core"
    )
