# ruff: noqa: S608 - statements with the test's own names in them
"""ClickHouse's own clients, unchanged, against the embedded engine."""

import asyncio
import contextlib
import datetime as dt
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from tests.support.clickhouse_server import as_analyst

pytestmark = pytest.mark.clickhouse

NODE_CLIENT = "@clickhouse/client@1.23.1"
AT = dt.datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[Client]:
    made = clickhouse_connect.get_client(dsn=url, database="onefold", autogenerate_session_id=False)
    with contextlib.closing(made):
        yield made


def table(client: Client, name: str) -> str:
    client.command(f"CREATE TABLE onefold.{name} (id UInt64, name String, at DateTime64(3, 'UTC')) ENGINE = MergeTree ORDER BY id")
    return f"onefold.{name}"


@pytest.mark.parametrize("compress", [True, False, "lz4", "zstd", "gzip", "br"])
def test_native_inserts_and_reads_with_every_compression(url: str, client: Client, compress: bool | str) -> None:
    name = table(client, f"native_{compress}".lower())
    with contextlib.closing(clickhouse_connect.get_client(dsn=url, compress=compress)) as own:
        rows = [[number, f"Nguyễn Thị Ánh {number}", AT] for number in range(20_000)]
        summary = own.insert(name, rows, column_names=["id", "name", "at"])
        assert summary.written_rows == 20_000
        results = own.query(f"SELECT id, name, at FROM {name} ORDER BY id", tz_mode="aware")
    assert [list(row) for row in results.result_rows] == rows


def test_bound_parameters_keep_every_character(client: Client) -> None:
    value = "Trần 'Đức' \"x\" \\ \n\t` ; -- file("
    results = client.query(
        "SELECT {value:String}, {ids:Array(UInt64)}, {at:DateTime64(3)}", {"value": value, "ids": [1, 2], "at": AT}
    )
    assert results.result_rows[0][:2] == (value, [1, 2])


def test_parameters_too_long_for_an_address_keep_every_character(client: Client) -> None:
    values = ["Trần 'Đức' \"x\" \\ \r\n--\t` ; -- file(", "", *(f"{number:032x}" for number in range(5_000))]
    text = "\r\n--mốc\r\n\r\n" * 1_000
    results = client.query("SELECT {values:Array(String)}, {text:String}, {one:UInt8}", {"values": values, "text": text, "one": 1})
    assert results.result_rows[0] == (values, text, 1)


def test_request_settings_do_not_leak_into_the_next_request_of_a_session(url: str) -> None:
    with contextlib.closing(clickhouse_connect.get_client(dsn=url, session_id="settings")) as client:
        sql = "SELECT getSetting('max_block_size')"
        default = client.command(sql)
        assert client.command(sql, settings={"max_block_size": 123}) == 123
        assert client.command(sql) == default
        client.command("SET max_block_size = 77")
        assert client.command(sql) == 77


def test_a_session_keeps_its_temporary_table_and_others_do_not_see_it(url: str, client: Client) -> None:
    with contextlib.closing(clickhouse_connect.get_client(dsn=url, session_id="temporary")) as own:
        own.command("CREATE TEMPORARY TABLE kept (a UInt8)")
        own.insert("kept", [[7]], column_names=["a"])
        assert own.command("SELECT a FROM kept") == 7
    with pytest.raises(DatabaseError, match="Code: 60"):
        client.query("SELECT a FROM kept")


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("SELEC 1", 62),
        ("SELECT * FROM onefold.nope", 60),
        ("SELECT nope", 47),
        ("SELECT 1; SELECT 2", 62),
        ("SELECT throwIf(1)", 395),
    ],
)
def test_errors_carry_their_codes(client: Client, sql: str, code: int) -> None:
    with pytest.raises(DatabaseError, match=f"Code: {code}\\."):
        client.query(sql)


def test_an_error_in_the_middle_of_a_stream_is_raised(client: Client) -> None:
    sql = "SELECT number, throwIf(number = 4000000) FROM numbers(5000000)"
    with pytest.raises(DatabaseError, match="Code: 395"), client.query_row_block_stream(sql) as stream:
        for _ in stream:
            pass


def test_a_large_result_is_streamed_whole(client: Client) -> None:
    with client.query_row_block_stream("SELECT number, toString(number) FROM numbers(2000000)") as stream:
        assert sum(len(block) for block in stream) == 2_000_000


def test_readers_and_writers_at_once(url: str, client: Client) -> None:
    name = table(client, "concurrent")

    def write(worker: int) -> None:
        with contextlib.closing(clickhouse_connect.get_client(dsn=url)) as client:
            for batch in range(5):
                client.insert(name, [[worker * 5 + batch, "x", AT]] * 200, column_names=["id", "name", "at"])

    def read(_: int) -> bool:
        with contextlib.closing(clickhouse_connect.get_client(dsn=as_analyst(url))) as client:
            return all(client.query(f"SELECT count() FROM {name}").result_rows[0][0] % 200 == 0 for _ in range(5))

    with ThreadPoolExecutor(8) as pool:
        writing = [pool.submit(write, worker) for worker in range(4)]
        assert all(pool.map(read, range(4)))
        for completed in writing:
            completed.result()
    assert client.command(f"SELECT count() FROM {name}") == 4 * 5 * 200


def test_an_insert_that_is_repeated_with_its_token_is_stored_once(client: Client) -> None:
    sql = "CREATE TABLE onefold.once (id UInt64) ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 100"
    client.command(sql)
    for token in ("first", "first", "second"):
        client.insert("once", [[1], [2]], column_names=["id"], settings={"insert_deduplication_token": token})
    assert client.command("SELECT count() FROM once") == 4


async def test_the_asynchronous_client(url: str, client: Client) -> None:
    name = table(client, "asynchronous")
    own = await clickhouse_connect.get_async_client(dsn=url, autogenerate_session_id=False)
    await own.insert(name, [[1, "Lê Văn Đạt", AT]], column_names=["id", "name", "at"])
    results = await asyncio.gather(*(own.query(f"SELECT name, {{n:UInt8}} FROM {name}", {"n": n}) for n in range(12)))
    await own.close()
    assert [answer.result_rows[0] for answer in results] == [("Lê Văn Đạt", n) for n in range(12)]


def test_an_analyst_reads_and_sets_but_never_writes(url: str, client: Client) -> None:
    name = table(client, "guarded")
    with contextlib.closing(clickhouse_connect.get_client(dsn=as_analyst(url))) as own:
        assert own.command(f"SELECT count() FROM {name}", settings={"max_threads": 1}) == 0
        for sql in (
            f"INSERT INTO {name} VALUES (1, 'x', now())",
            f"DROP TABLE {name}",
            "SET readonly = 0",
            "CREATE TABLE onefold.x (a Int8)",
        ):
            with pytest.raises(DatabaseError, match="Code: 164"):
                own.command(sql)
        with pytest.raises(DatabaseError, match="Code: 164"):
            own.insert(
                name, [[1, "x", AT]], column_names=["id", "name", "at"], column_type_names=["UInt64", "String", "DateTime64(3)"]
            )


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_asks_inserts_and_reads(url: str) -> None:
    def curl(*arguments: str, data: str = "") -> str:
        return subprocess.run(["curl", "-sS", *arguments], input=data, capture_output=True, text=True, check=True).stdout

    curl(url, "-d", "CREATE TABLE onefold.curl (id UInt64, name String) ENGINE = MergeTree ORDER BY id")
    curl(f"{url}/?query=INSERT%20INTO%20onefold.curl%20FORMAT%20TSV", "--data-binary", "@-", data="1\tĐặng\n2\tb\n")
    assert curl(f"{url}/?query=SELECT%20*%20FROM%20onefold.curl%20ORDER%20BY%20id") == "1\tĐặng\n2\tb\n"
    assert (
        curl(f"{url}/?param_id=2&database=onefold", "-d", "SELECT name FROM curl WHERE id = {id:UInt64} FORMAT JSONEachRow")
        == '{"name":"b"}\n'
    )
    assert curl(f"http://{urlsplit(url).hostname}:{urlsplit(url).port}/ping") == "Ok.\n"


SCRIPT = """
import { createClient } from '@clickhouse/client'
const at = new URL(process.argv[2]), say = (value) => console.log(JSON.stringify(value))
const log = { level: 127 }
const options = { url: at.origin, username: at.username, password: at.password, log }
const client = createClient({ ...options, compression: { request: true, response: true } })
await client.command({ query: 'CREATE TABLE onefold.node (id UInt64, name String) ENGINE = MergeTree ORDER BY id' })
await client.insert({ table: 'onefold.node', values: [{ id: 1, name: 'Lê Văn Đạt' }], format: 'JSONEachRow' })
const query = 'SELECT name FROM onefold.node WHERE id = {id:UInt64}'
say(await (await client.query({ query, query_params: { id: 1 }, format: 'JSONEachRow' })).json())
try { await client.query({ query: 'SELECT * FROM onefold.nope' }) } catch (error) { say(error.code) }
try {
  const rows = await client.query({ query: 'SELECT throwIf(number = 4000000) FROM numbers(5000000)', format: 'JSONEachRow' })
  for await (const _ of rows.stream()) { }
} catch (error) { say(error.code) }
const session = createClient({ ...options, session_id: 'node' })
await session.command({ query: 'CREATE TEMPORARY TABLE kept (a Int32)' })
await session.insert({ table: 'kept', values: [{ a: 5 }], format: 'JSONEachRow' })
say(await (await session.query({ query: 'SELECT a FROM kept', format: 'JSONEachRow' })).json())
await client.close(); await session.close()
"""


def test_the_node_client(url: str, tmp_path: Path) -> None:
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("node and npm are not installed: ClickHouse's Node client cannot be tried")
    install = ["npm", "install", "--no-audit", "--no-fund", "--silent", "--prefix", str(tmp_path), NODE_CLIENT]
    if subprocess.run(install, capture_output=True, timeout=120, check=False).returncode != 0:
        pytest.skip(f"{NODE_CLIENT} cannot be fetched here")
    (tmp_path / "try.mjs").write_text(SCRIPT)
    completed = subprocess.run(["node", "try.mjs", url], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert completed.returncode == 0, completed.stderr
    assert completed.stdout.splitlines() == ['[{"name":"Lê Văn Đạt"}]', '"60"', '"395"', '[{"a":5}]']
