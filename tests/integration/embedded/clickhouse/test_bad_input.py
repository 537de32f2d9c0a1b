"""Bad input at the embedded engine: each gets a ClickHouse-shaped error, never a traceback."""

import asyncio
import gzip
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from embedded.clickhouse.compression import encode_blocks
from tests.support.clickhouse_server import as_analyst
from tests.support.polling import eventually

pytestmark = pytest.mark.clickhouse

SHAPE = re.compile(r"\ACode: (\d+)\. DB::\w*Exception: .+\([A-Z0-9_]+\) \(version [\d.]+ \(embedded\)\)\n\Z", re.DOTALL)
LINES = b'{"a": 1}\n' * 5000


@pytest.fixture
def http(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=60) as client:
        client.post(
            "/", content="CREATE TABLE IF NOT EXISTS onefold.target (a UInt64) ENGINE = MergeTree ORDER BY a"
        ).raise_for_status()
        yield client


def refused(answer: httpx.Response, code: int, status: int) -> None:
    results = SHAPE.match(answer.text)
    assert results is not None, answer.text
    assert int(results[1]) == code
    assert answer.headers["x-clickhouse-exception-code"] == str(code)
    assert answer.status_code == status
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("user", ["onefold:wrong", "nobody:x", "default:", "onefold:"])
def test_a_wrong_password_or_user_is_refused(url: str, user: str) -> None:
    address = f"http://{user}@{urlsplit(url).hostname}:{urlsplit(url).port}"
    answer = httpx.post(address, content="SELECT 1")
    refused(answer, 516, 403)
    assert "Basic" in answer.headers["www-authenticate"]


def test_an_unreadable_authorization_header_is_refused(url: str) -> None:
    address = f"http://{urlsplit(url).hostname}:{urlsplit(url).port}"
    for header in ("Basic !!!", "Bearer x", "Basic /w=="):
        refused(httpx.post(address, content="SELECT 1", headers={"authorization": header}), 516, 403)


@pytest.mark.parametrize("name", ["x`; DROP DATABASE onefold; --", "nope", "a b", "../x", "'"])
def test_a_database_name_is_a_name_and_nothing_else(http: httpx.Client, name: str) -> None:
    refused(http.post("/", params={"database": name}, content="SELECT 1"), 81, 404)
    assert http.post("/", content="EXISTS DATABASE onefold").text == "1\n"


@pytest.mark.parametrize(
    ("sql", "code", "status"),
    [
        ("SELECT 1; DROP DATABASE onefold", 62, 400),
        ("SELEC 1", 62, 400),
        ("", 62, 400),
        ("SELECT 'open", 62, 400),
        ("SELECT * FROM file('/etc/passwd', 'LineAsString')", 497, 403),
        ("SELECT * FROM url('http://127.0.0.1:9/', 'LineAsString')", 497, 403),
        ("SELECT * FROM s3('http://127.0.0.1:9/bucket/key', 'TSV', 'a String')", 497, 403),
        ("SELECT * FROM remote('127.0.0.1', 'system.one')", 497, 403),
        ("SELECT * FROM mysql('127.0.0.1:9', 'd', 't', 'u', 'p')", 497, 403),
        ("SELECT file('/etc/passwd')", 497, 403),
        ("SELECT 1 INTO OUTFILE '/tmp/onefold-test'", 497, 403),
        ("SYSTEM SHUTDOWN", 497, 403),
        ("CREATE USER mallory", 497, 403),
        ("SET dialect = 'prql'", 452, 400),
        ("SELECT 1 SETTINGS additional_result_filter = '1'", 452, 400),
        ("SELECT 1 SETTINGS filter = '1'", 452, 400),
        ("SELECT 1 SETTINGS select = '2'", 452, 400),
        ("SELECT 1 FORMAT Template SETTINGS format_template_resultset = '/etc/passwd'", 452, 400),
        ("SELECT 1 FORMAT Nope", 73, 404),
    ],
)
def test_a_bad_statement_is_refused(http: httpx.Client, sql: str, code: int, status: int) -> None:
    refused(http.post("/", content=sql), code, status)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM format(Values, 'a String', concat('(fi', 'le(''{path}''))'))",
        "SELECT * FROM format(JSONEachRow, 'a String, b String DEFAULT file(''{path}'')', '{{\"a\": \"x\"}}')",
        "SELECT * FROM loop(format('Values', 'a String', '((SELECT any(query) FROM system.processes))'))",
        "SELECT * FROM `format`(Values, 'a String', '(1)')",
    ],
)
def test_data_that_the_engine_would_run_as_code_is_refused(http: httpx.Client, tmp_path: Path, sql: str) -> None:
    (tmp_path / "file").write_text("content of the file")
    refused(http.post("/", content=sql.format(path=tmp_path / "file")), 497, 403)
    assert http.post("/", content="SELECT format('{} {}', 'Nguyễn', 'Ánh')").text == "Nguyễn Ánh\n"


def test_an_over_large_query_is_refused(http: httpx.Client) -> None:
    refused(http.post("/", content=b"SELECT '" + b"x" * (17 << 20) + b"'"), 229, 413)


def test_an_unknown_setting_is_refused_by_name(http: httpx.Client) -> None:
    refused(http.post("/", params={"no_such_setting": "1"}, content="SELECT 1"), 115, 404)
    refused(http.post("/", params={"x = 1; DROP DATABASE onefold": "1"}, content="SELECT 1"), 115, 404)


def test_a_missing_parameter_is_refused(http: httpx.Client) -> None:
    refused(http.post("/", content="SELECT {x:UInt64}"), 456, 400)
    refused(http.post("/", params={"param_x": "nine"}, content="SELECT {x:UInt64}"), 457, 400)


@pytest.mark.parametrize(
    ("media", "body", "code", "status"),
    [
        ("multipart/form-data", b"--b\r\n\r\n--b--", 36, 400),
        ("multipart/form-data; boundary=b", b"", 36, 400),
        ("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="query"\r\n\r\nSELECT 1', 36, 400),
        ("multipart/form-data; boundary=b", b"--b\r\n\r\nSELECT 1\r\n--b--", 36, 400),
        ("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="user"\r\n\r\nx\r\n--b--', 36, 400),
        ("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="query"\r\n\r\n\xff\r\n--b--', 36, 400),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="t"; filename="t"\r\n\r\n1\r\n--b--',
            48,
            501,
        ),
        (
            'multipart/form-data; boundary="b"',
            b'--b\r\nContent-Disposition: form-data; name="query"\r\n\r\nSELECT * FROM file(x)\r\n--b--\r\n',
            497,
            403,
        ),
    ],
)
def test_a_bad_form_is_refused(http: httpx.Client, media: str, body: bytes, code: int, status: int) -> None:
    refused(http.post("/", content=body, headers={"content-type": media}), code, status)


def test_form_upload_does_not_bypass_role_restrictions(url: str) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="query"\r\n\r\nDROP DATABASE onefold\r\n--b--'
    answer = httpx.post(as_analyst(url), content=body, headers={"content-type": "multipart/form-data; boundary=b"})
    refused(answer, 164, 403)


def test_a_get_never_writes(http: httpx.Client) -> None:
    sql = "INSERT INTO onefold.target VALUES (1)"
    refused(http.get("/", params={"query": sql}), 164, 403)
    refused(http.get("/", params={"query": sql, "session_id": "get"}), 164, 403)


def test_the_client_cannot_leave_its_session_rules(http: httpx.Client) -> None:
    refused(http.post("/", params={"session_id": "none", "session_check": "1"}, content="SELECT 1"), 372, 404)
    refused(http.post("/", params={"session_id": "x", "session_timeout": "99999"}, content="SELECT 1"), 374, 400)


def test_a_session_serves_one_request_at_a_time(http: httpx.Client) -> None:
    session = {"session_id": "busy"}
    sql = "SELECT sleepEachRow(0.5) FROM numbers(6) SETTINGS max_block_size = 1"
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(http.post, "/", params=session, content=sql)
        eventually(lambda: running(http, "SELECT sleepEachRow%"), lambda count: count > 0)
        refused(http.post("/", params=session, content="SELECT 1"), 373, 423)
        assert slow.result().status_code == 200


def running(http: httpx.Client, like: str) -> int:
    return int(http.post("/", params={"param_like": like}, content=RUNNING).text)


RUNNING = "SELECT count() FROM system.processes WHERE query LIKE {like:String} AND query NOT LIKE '%system.processes%'"


@pytest.mark.parametrize(
    ("encoding", "body", "code", "status"),
    [
        ("snappier", LINES, 48, 501),
        ("gzip", gzip.compress(LINES)[:-20], 354, 400),
        ("gzip", LINES, 354, 400),
        ("zstd", LINES, 561, 400),
        ("lz4", LINES, 618, 400),
        ("br", b"\xff" * 100, 448, 400),
    ],
)
def test_a_torn_or_unknown_encoding_stores_nothing(http: httpx.Client, encoding: str, body: bytes, code: int, status: int) -> None:
    before = http.post("/", content="SELECT count() FROM onefold.target").text
    parameters = {"query": "INSERT INTO onefold.target FORMAT JSONEachRow"}
    refused(http.post("/", params=parameters, content=body, headers={"content-encoding": encoding}), code, status)
    assert http.post("/", content="SELECT count() FROM onefold.target").text == before


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (flipped(encode_blocks(LINES), 3), 40),
        (flipped(encode_blocks(LINES), 40), 40),
        (encode_blocks(LINES)[:-1], 33),
        (b"\0" * 16 + b"\x82" + b"\xff" * 8, 39),
    ],
)
def test_a_corrupted_native_block_stores_nothing(http: httpx.Client, body: bytes, code: int) -> None:
    before = http.post("/", content="SELECT count() FROM onefold.target").text
    parameters = {"query": "INSERT INTO onefold.target FORMAT JSONEachRow", "decompress": "1"}
    refused(http.post("/", params=parameters, content=body), code, 400)
    assert http.post("/", content="SELECT count() FROM onefold.target").text == before


def test_good_native_blocks_are_stored(http: httpx.Client) -> None:
    http.post("/", content="CREATE TABLE onefold.good (a UInt64) ENGINE = MergeTree ORDER BY a").raise_for_status()
    answer = http.post(
        "/", params={"query": "INSERT INTO onefold.good FORMAT JSONEachRow", "decompress": "1"}, content=encode_blocks(LINES)
    )
    assert json.loads(answer.headers["x-clickhouse-summary"])["written_rows"] == "5000"
    assert http.post("/", content="SELECT count() FROM onefold.good").text == "5000\n"


def test_malformed_rows_are_refused(http: httpx.Client) -> None:
    answer = http.post("/", params={"query": "INSERT INTO onefold.target FORMAT JSONEachRow"}, content=b'{"a": "x"}\n')
    assert SHAPE.match(answer.text)
    assert answer.status_code == 400


def test_a_query_that_is_not_utf8_is_refused(http: httpx.Client) -> None:
    refused(http.post("/", content=b"SELECT '\xff\xfe'"), 62, 400)


def test_too_much_memory_is_refused_and_the_engine_lives_on(http: httpx.Client) -> None:
    sql = "SELECT groupArray(number) FROM numbers(100000000)"
    refused(http.post("/", params={"max_memory_usage": "10000000"}, content=sql), 241, 500)
    assert http.get("/ping").text == "Ok.\n"


def test_query_over_the_time_limit_is_refused(http: httpx.Client) -> None:
    refused(http.post("/", params={"max_execution_time": "1"}, content="SELECT count() FROM numbers(1000000000000)"), 159, 408)


def test_unknown_paths_and_methods_answer_404_or_405(http: httpx.Client) -> None:
    assert http.get("/play").status_code == 404
    assert http.get("/ping", params={"x": "1"}).text == "Ok.\n"
    refused(http.request("DELETE", "/?query=SELECT%201"), 48, 501)


async def test_disconnect_cancels_the_running_query(url: str, http: httpx.Client) -> None:
    async with httpx.AsyncClient(base_url=as_analyst(url), timeout=60) as client:
        requested = asyncio.create_task(
            client.post("/", content="SELECT count() FROM numbers(100000000000) WHERE NOT ignore(number)")
        )
        await asyncio.to_thread(eventually, lambda: running(http, "%100000000000%"), lambda count: count > 0)
        requested.cancel()
        await asyncio.to_thread(eventually, lambda: running(http, "%100000000000%"), lambda count: count == 0)
        assert (await client.post("/", content="SELECT 1")).text == "1\n"
