"""A reader reads: it neither changes, nor ends, nor sees what others do, and takes no more than its share."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from embedded.clickhouse.limits import limits_of, usable_processors
from tests.support.clickhouse_server import ANALYST, ANALYST_PASSWORD, as_analyst
from tests.support.polling import eventually

pytestmark = pytest.mark.clickhouse

WORK = "SELECT sum(sleepEachRow(0.05)) FROM numbers(40) SETTINGS max_block_size = 1"
ENDLESS = "SELECT sum(sipHash64(number)) FROM numbers(1000000000000000)"
# A megabyte at once, and then a row in every half second: the client has a part of the answer while the query runs on.
SLOW_STREAM = "SELECT repeat('x', 100000), if(number > 20, sleepEachRow(0.5), 0) FROM numbers(100000) SETTINGS max_block_size = 1"


@pytest.fixture
def app(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=120) as client:
        yield client


@pytest.fixture
def reader(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=as_analyst(url), timeout=120, limits=httpx.Limits(max_connections=64)) as client:
        yield client


def count_running(app: httpx.Client, query_id_prefix: str) -> int:
    sql = "SELECT count() FROM system.processes WHERE startsWith(query_id, {prefix:String})"
    return int(app.post("/", params={"param_prefix": query_id_prefix}, content=sql).text)


@contextlib.contextmanager
def running(client: httpx.Client, app: httpx.Client, sql: str, query_id: str) -> Iterator[list[httpx.Response]]:
    """Run a query in a thread, and give the list that its answer will be in."""
    answers: list[httpx.Response] = []
    thread = threading.Thread(target=lambda: answers.append(client.post("/", params={"query_id": query_id}, content=sql)))
    thread.start()
    eventually(lambda: count_running(app, query_id), lambda count: count == 1)
    yield answers
    thread.join()


def test_a_reader_ends_its_own_queries_and_nobody_elses(app: httpx.Client, reader: httpx.Client) -> None:
    with running(app, app, WORK, "work") as answers, running(reader, app, ENDLESS, "own") as own_answers:
        for condition in ("query LIKE '%sleepEachRow%'", "query_id = 'work'", "1", "1 OR query_id = 'work' SYNC"):
            assert reader.post("/", content=f"KILL QUERY WHERE {condition}").status_code == 200
        assert reader.post("/", content="KILL MUTATION WHERE 1").text == ""
    assert answers[0].text == "0\n"
    assert own_answers[0].headers["x-clickhouse-exception-code"] == "394"


def test_a_reader_sees_its_own_queries_alone(app: httpx.Client, reader: httpx.Client) -> None:
    sources = (
        "system.processes",
        "`system`.`processes`",
        "merge('system', '^processes$')",
        "merge(REGEXP('^system$'), '^processes$')",
        "view(SELECT query FROM system.processes)",
        "system.{table:Identifier}",
        "system.onefold_processes",
        "(SELECT query FROM system.processes)",
    )
    with running(app, app, WORK, "work"):
        for source in sources:
            sql = f"SELECT query FROM {source} FORMAT JSONEachRow"  # noqa: S608 - the test's own sources
            lines = reader.post("/", params={"param_table": "processes"}, content=sql).text.splitlines()
            assert lines, source
            assert all("sleepEachRow" not in line and "query FROM" in line for line in lines), source
        assert "sleepEachRow" not in reader.post("/", content="SHOW PROCESSLIST").text


def test_a_reader_sees_of_the_log_its_own_statements_alone(app: httpx.Client, reader: httpx.Client) -> None:
    assert app.post("/", content="SELECT 'of the application'").status_code == 200
    assert "Code: 395" in app.post("/", content="SELECT throwIf(1, 'of the application')").text
    assert reader.post("/", content="SELECT 'of the reader'").status_code == 200
    app.post("/", content="SYSTEM FLUSH LOGS").raise_for_status()
    for table in ("system.query_log", "system.user_query_log", "merge('system', 'query_log')", "system.onefold_query_log"):
        logged = reader.post("/", content=f"SELECT query FROM {table} WHERE query LIKE '%of the%'").text  # noqa: S608 - the same
        assert "of the reader" in logged
        assert "of the application" not in logged
    assert reader.post("/", content="SELECT count() FROM system.errors").text == "0\n"


@pytest.mark.parametrize(
    ("parameters", "sql", "code"),
    [
        ({"max_execution_time": "100000"}, "SELECT 1", 452),
        ({"max_memory_usage": "0"}, "SELECT 1", 452),
        ({"max_threads": "DEFAULT"}, "SELECT 1", 452),
        ({"chdb_client_name": "app.onefold/1"}, "SELECT 1", 452),
        ({"readonly": "0"}, "SELECT 1", 164),
        ({}, "SELECT * FROM (SELECT 1 SETTINGS max_execution_time = 0)", 452),
        ({}, "SELECT 1 SETTINGS readonly = DEFAULT", 164),
        ({}, "SET max_execution_time = DEFAULT", 452),
        ({}, "CREATE TEMPORARY TABLE t (a Int8)", 164),
        ({}, "SYSTEM FLUSH LOGS", 164),
        ({}, "OPTIMIZE TABLE onefold.t", 164),
    ],
)
def test_a_reader_does_not_leave_its_limits(reader: httpx.Client, parameters: dict[str, str], sql: str, code: int) -> None:
    answer = reader.post("/", params=parameters, content=sql)
    assert answer.headers.get("x-clickhouse-exception-code") == str(code), answer.text


def test_the_limits_hold_in_every_request_of_a_session(reader: httpx.Client) -> None:
    sql = "SELECT getSetting('max_execution_time')"
    session = {"session_id": "limits"}
    assert reader.post("/", params=session, content=sql).text == "600\n"
    assert reader.post("/", params=session | {"max_execution_time": "30"}, content=sql).text == "30\n"
    assert reader.post("/", params=session, content=sql).text == "600\n"


def test_a_user_has_so_many_sessions_and_others_have_theirs(app: httpx.Client, reader: httpx.Client) -> None:
    answers = [
        reader.post("/", params={"session_id": f"many-{number}", "session_timeout": "2"}, content="SELECT 1")
        for number in range(70)
    ]
    refused = [answer for answer in answers if answer.status_code != 200]
    assert refused
    assert {answer.headers["x-clickhouse-exception-code"] for answer in refused} == {"202"}
    assert refused[0].status_code == 503
    assert "analyst" in refused[0].text
    assert app.post("/", params={"session_id": "other", "session_timeout": "2"}, content="SELECT 1").text == "1\n"


def test_endless_queries_of_a_reader_shut_nobody_out(app: httpx.Client, reader: httpx.Client) -> None:
    answers: list[httpx.Response] = []
    slots = limits_of("analyst", 1 << 30, usable_processors()).queries

    def ask(number: int) -> None:
        answers.append(reader.post("/", params={"query_id": f"endless-{number}"}, content=ENDLESS))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(slots)]
    for thread in threads:
        thread.start()
    eventually(lambda: count_running(app, "endless-"), lambda count: count == slots)
    assert app.post("/", content="SELECT count() FROM numbers(1000)").text == "1000\n"
    assert app.get("/ping").text == "Ok.\n"
    next_answer: list[str] = []
    waiting = threading.Thread(target=lambda: next_answer.append(reader.post("/", content="SELECT 'next'").text))
    waiting.start()
    reader.post("/", content="KILL QUERY WHERE startsWith(query_id, 'endless-')").raise_for_status()  # has a slot of its own
    for thread in (*threads, waiting):
        thread.join()
    assert {answer.headers["x-clickhouse-exception-code"] for answer in answers} == {"394"}
    assert next_answer == ["next\n"]


@pytest.mark.parametrize("sql", [ENDLESS, SLOW_STREAM, f"{ENDLESS} FORMAT JSON"])
def test_a_query_ends_when_its_client_has_left(url: str, app: httpx.Client, sql: str) -> None:
    with send_query(url, sql, "left"):
        eventually(lambda: count_running(app, "left"), lambda count: count == 1)
    eventually(lambda: count_running(app, "left"), lambda count: count == 0)


def test_a_second_request_on_a_busy_connection_hides_no_disconnect(url: str, app: httpx.Client) -> None:
    with send_query(url, ENDLESS, "busy") as connection:
        eventually(lambda: count_running(app, "busy"), lambda count: count == 1)
        connection.sendall(request_for("SELECT 1", "second"))
    eventually(lambda: count_running(app, "busy"), lambda count: count == 0)


@contextlib.contextmanager
def send_query(url: str, sql: str, query_id: str) -> Iterator[socket.socket]:
    """Send a query, read nothing of the answer, and close the connection at the end."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port or 0)) as connection:
        connection.sendall(request_for(sql, query_id))
        yield connection


def request_for(sql: str, query_id: str) -> bytes:
    body = sql.encode()
    head = f"POST /?query_id={query_id}&user={ANALYST}&password={ANALYST_PASSWORD} HTTP/1.1\r\nhost: x\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.parametrize("arguments", ["'{name}'", "'{name}', 't'", "'{name}', 'CSV', 'a Int8'"])
def test_no_table_function_makes_a_file(app: httpx.Client, reader: httpx.Client, arguments: str) -> None:
    data = Path(app.post("/", content="SELECT path FROM system.disks WHERE name = 'default'").text.strip())
    functions = app.post("/", content="SELECT name FROM system.table_functions ORDER BY name").text.split()
    assert "file" in functions
    assert (data / "metadata").is_dir()
    for function in functions:
        call = f"{function}({arguments.format(name=f'data/metadata/made_by_{function}.sql')})"
        reader.post("/", content=f"SELECT * FROM {call} LIMIT 1")  # noqa: S608 - names that the engine itself gives
    assert sorted(path.name for path in data.parent.rglob("made_by_*")) == []
