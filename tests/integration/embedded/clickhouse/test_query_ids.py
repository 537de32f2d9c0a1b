"""The query id of a client is the one by which it finds and ends its query, in every table that shows query ids."""

import threading

import httpx
import pytest

from tests.support.clickhouse_server import as_analyst
from tests.support.polling import eventually

pytestmark = pytest.mark.clickhouse

SLOW = "SELECT sum(sleepEachRow(0.05)) FROM numbers(4000) SETTINGS max_block_size = 1"


def ask(url: str, sql: str, **parameters: str) -> str:
    return httpx.post(url, params=parameters, content=sql, timeout=60).text.strip()


@pytest.mark.parametrize(
    "condition",
    [
        "query_id = '{id}'",
        "`query_id` IN ('{id}', 'other') SYNC",
        "initial_query_id='{id}' ASYNC FORMAT Null",
        "user = 'default' AND query_id='{id}'",
    ],
)
@pytest.mark.parametrize("role", ["app", "analyst"])
def test_kill_query_finds_the_id_that_the_client_gave(url: str, role: str, condition: str) -> None:
    address = url if role == "app" else as_analyst(url)
    answers: list[httpx.Response] = []
    named = {"query_id": f"tool's-{role}", "log_comment": "dbt"}  # a comment of the tool's own does not hide the id
    slow = threading.Thread(target=lambda: answers.append(httpx.post(address, params=named, content=SLOW, timeout=60)))
    slow.start()
    quoted = f"tool\\'s-{role}"
    count = f"SELECT count() FROM system.processes WHERE query_id = '{quoted}'"  # noqa: S608 - the test's own id
    eventually(lambda: ask(address, count), lambda text: text == "1")
    httpx.post(address, content="KILL QUERY WHERE " + condition.format(id=quoted)).raise_for_status()
    slow.join()
    assert answers[0].headers["x-clickhouse-exception-code"] == "394"
    assert answers[0].headers["x-clickhouse-query-id"] == named["query_id"]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT query_id FROM system.processes", "mine"),
        ("SELECT p.query_id, p.initial_query_id FROM system.processes AS p", "mine\tmine"),
        ("SELECT processes.query_id FROM `system`.processes", "mine"),
        ("SELECT system.processes.query_id FROM system.processes WHERE query_id = queryID()", "mine"),
        ("SELECT count() FROM system.one JOIN system.processes ON query_id = 'mine'", "1"),
        ("SELECT query_id FROM (SELECT query_id FROM system.processes LIMIT 1)", "mine"),
        ("WITH p AS (SELECT * FROM system.processes) SELECT query_id FROM p", "mine"),
        ("SELECT count() FROM system.processes WHERE query_id != queryID()", "0"),
        ("SELECT 'system.processes', 'queryID()'", "system.processes\tqueryID()"),
        ("SELECT initialQueryID(), query_id()", "mine\tmine"),
    ],
)
def test_the_list_of_running_queries_shows_the_ids_of_clients(url: str, sql: str, expected: str) -> None:
    assert ask(url, sql, query_id="mine") == expected


def test_bare_names_mean_the_tables_of_the_database_that_the_request_names(url: str) -> None:
    assert ask(url, "SELECT query_id FROM processes", query_id="mine", database="system") == "mine"


def test_the_log_shows_the_ids_of_clients_and_the_comment_that_they_gave(url: str) -> None:
    assert ask(url, "SELECT 41 + 1", query_id="logged-1", log_comment="weekly report") == "42"
    ask(url, "SYSTEM FLUSH LOGS")
    logged = "SELECT DISTINCT query_id, log_comment FROM system.query_log WHERE query LIKE 'SELECT 41%' AND type = 'QueryFinish'"
    assert ask(url, logged) == "logged-1\tweekly report"


def test_tables_that_only_name_a_query_show_the_ids_of_clients(url: str) -> None:
    assert "Code: 395" in ask(url, "SELECT throwIf(1, 'mine')", query_id="thrown-1")
    ask(url, "SYSTEM FLUSH LOGS")
    assert ask(url, "SELECT query_id FROM system.errors WHERE code = 395") == "thrown-1"


def test_an_id_names_one_running_query(url: str) -> None:
    slow = threading.Thread(target=lambda: ask(url, SLOW, query_id="twice"))
    slow.start()
    eventually(lambda: ask(url, "SELECT count() FROM system.processes WHERE query_id = 'twice'"), lambda text: text == "1")
    assert "Code: 216." in ask(url, "SELECT 1", query_id="twice")
    ask(url, "KILL QUERY WHERE query_id = 'twice'")
    slow.join()
    assert ask(url, "SELECT 1", query_id="twice") == "1"


@pytest.mark.parametrize(
    ("format_", "media"),
    [
        ("ArrowStream", "application/octet-stream"),
        ("ORC", "application/octet-stream"),
        ("Parquet", "application/octet-stream"),
        ("JSONLines", "application/x-ndjson; charset=UTF-8"),
        ("jsoneachrow", "application/x-ndjson; charset=UTF-8"),
        ("JSONColumns", "application/json; charset=UTF-8"),
        ("CSV", "text/csv; charset=UTF-8; header=absent"),
        ("XML", "application/xml; charset=UTF-8"),
        ("Pretty", "text/plain; charset=UTF-8"),
    ],
)
def test_a_format_has_the_content_type_that_the_engine_gives_it(url: str, format_: str, media: str) -> None:
    assert httpx.post(url, content=f"SELECT 1 AS x FORMAT {format_}").headers["content-type"] == media


def test_an_analyst_who_writes_is_told_what_a_database_of_their_own_needs(url: str) -> None:
    for sql in ("CREATE VIEW onefold.v AS SELECT 1", "CREATE DATABASE mine"):
        answer = ask(as_analyst(url), sql)
        assert "Code: 164." in answer
        assert "ClickHouse server" in answer
