"""Statements with the query ids of clients in them."""

import pytest

from embedded.clickhouse.query_ids import with_client_ids

CARRIER = "Settings['chdb_client_name']"
ID = f"if({CARRIER} != '', substring({CARRIER}, position({CARRIER}, '/') + 1), query_id)"
OWN_ID = "substring(getSetting('chdb_client_name'), position(getSetting('chdb_client_name'), '/') + 1)"


@pytest.mark.parametrize(
    ("sql", "database", "expected"),
    [
        ("KILL QUERY WHERE query_id = 'x'", None, f"KILL QUERY WHERE {ID} = 'x'"),
        ("kill query where 'query_id' = query_id test", None, f"kill query where 'query_id' = {ID} test"),
        ("SELECT 1 FROM system.processes", None, "SELECT 1 FROM system.onefold_processes AS processes"),
        ("SELECT 1 FROM system.processes p", None, "SELECT 1 FROM system.onefold_processes p"),
        ("SELECT 1 FROM system.processes WHERE 1", None, "SELECT 1 FROM system.onefold_processes AS processes WHERE 1"),
        ("DESCRIBE TABLE system.query_log", None, "DESCRIBE TABLE system.onefold_query_log"),
        ("SELECT 1 FROM processes", None, "SELECT 1 FROM processes"),
        ("SELECT 1 FROM processes", "system", "SELECT 1 FROM system.onefold_processes AS processes"),
        ("SELECT errors FROM system.tables", None, "SELECT errors FROM system.tables"),
        ("SELECT * FROM onefold.errors, system.one", None, "SELECT * FROM onefold.errors, system.one"),
        ("SELECT queryID() = 'queryID()' -- queryID()", None, f"SELECT {OWN_ID} = 'queryID()' -- queryID()"),
        ("SELECT query_id FROM t", None, "SELECT query_id FROM t"),
    ],
)
def test_ids_and_tables_are_replaced_where_the_engine_reads_them(sql: str, database: str | None, expected: str) -> None:
    assert with_client_ids(sql, database) == expected
