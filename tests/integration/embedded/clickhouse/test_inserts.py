"""An INSERT is acknowledged when its rows are there, and never otherwise: whatever refuses them, in every format."""

import os
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from embedded.clickhouse import staged_insert
from tests.support.clickhouse_server import clickhouse_server
from tests.support.polling import eventually
from tests.support.small_disk import small_disk

pytestmark = pytest.mark.clickhouse

FORMATS: dict[str, Callable[[int], bytes]] = {
    "Values": lambda n: b"(%d)" % n,
    "TSV": lambda n: b"%d\n" % n,
    "CSV": lambda n: b"%d\n" % n,
    "CSVWithNames": lambda n: b"a\n%d\n" % n,
    "JSONEachRow": lambda n: b'{"a": %d}\n' % n,
    "RowBinary": lambda n: struct.pack("<Q", n),
    "Native": lambda n: b"\x01\x01\x01a\x06UInt64" + struct.pack("<Q", n),
}
REFUSING = {
    "constraint": ("a UInt64, CONSTRAINT small CHECK a != 13", "469"),
    "materialized": ("a UInt64, b UInt8 MATERIALIZED throwIf(a = 13)", "395"),
    "default": ("a UInt64, b UInt8 DEFAULT throwIf(a = 13)", "395"),
}
STORED = "stored"


class Tables:
    """The database of these tests."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client

    def run(self, sql: str) -> str:
        answer = self.client.post("/", content=sql)
        assert answer.status_code == 200, answer.text
        return answer.text

    def create(self, columns: str, rest: str = "ENGINE = MergeTree ORDER BY a") -> None:
        self.run("DROP TABLE IF EXISTS v SYNC")
        self.run(f"CREATE OR REPLACE TABLE t ({columns}) {rest}")

    def insert(self, head: str, data: bytes, **parameters: str) -> str:
        """Return STORED, or the code of the error."""
        answer = self.client.post("/", params=parameters, content=head.encode() + b"\n" + data)
        return STORED if answer.status_code == 200 else answer.headers["x-clickhouse-exception-code"]


@pytest.fixture
def tables(url: str) -> Iterator[Tables]:
    with httpx.Client(base_url=url, timeout=60, headers={"x-clickhouse-database": "onefold"}) as client:
        yield Tables(client)


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("refusing", REFUSING)
def test_a_refused_row_is_an_error_and_a_good_one_is_stored(tables: Tables, format_: str, refusing: str) -> None:
    columns, code = REFUSING[refusing]
    tables.create(columns)
    head = f"INSERT INTO t (a) FORMAT {format_}"
    assert tables.insert(head, FORMATS[format_](13)) == code
    assert tables.insert(head, FORMATS[format_](7)) == STORED
    assert tables.run("SELECT a FROM t") == "7\n"


@pytest.mark.parametrize("format_", ["Values", "JSONEachRow", "Native"])
def test_a_view_that_throws_fails_the_insert(tables: Tables, format_: str) -> None:
    tables.create("a UInt64")
    tables.run("CREATE MATERIALIZED VIEW v ENGINE = MergeTree ORDER BY x AS SELECT a, throwIf(a = 13) AS x FROM t")
    assert tables.insert(f"INSERT INTO t FORMAT {format_}", FORMATS[format_](13)) == "395"
    assert tables.insert(f"INSERT INTO t FORMAT {format_}", FORMATS[format_](7)) == STORED
    assert tables.run("SELECT count() FROM v WHERE a = 7") == "1\n"


def test_too_many_parts_and_a_limit_of_time_fail_the_insert(tables: Tables) -> None:
    tables.create("a UInt64", "ENGINE = MergeTree ORDER BY a SETTINGS parts_to_throw_insert = 1, parts_to_delay_insert = 1")
    tables.run("SYSTEM STOP MERGES t")
    answers = [tables.insert("INSERT INTO t FORMAT TSV", b"%d\n" % n) for n in range(3)]
    assert "252" in answers
    assert tables.run("SELECT count() FROM t") == f"{answers.count(STORED)}\n"
    tables.create("a UInt64, b UInt8 MATERIALIZED sleepEachRow(0.1)")
    assert tables.insert("INSERT INTO t SETTINGS max_execution_time = 0.05 FORMAT TSV", b"1\n") in {"159", "236"}
    assert tables.run("SELECT count() FROM t") == "0\n"


def test_an_insert_that_is_killed_while_its_data_comes_is_an_error(tables: Tables, url: str) -> None:
    tables.create("a UInt64")

    def pieces() -> Iterator[bytes]:
        yield b"INSERT INTO t FORMAT TSV\n" + b"1\n" * (3 << 20)
        ids = "SELECT count() FROM system.processes WHERE query_id = 'slow-insert'"
        eventually(lambda: httpx.post(url, content=ids).text, lambda text: text != "0\n")
        httpx.post(url, content="KILL QUERY WHERE query_id = 'slow-insert' ASYNC").raise_for_status()
        yield b"2\n"

    answer = tables.client.post("/", params={"query_id": "slow-insert"}, content=pieces())
    assert answer.status_code != 200
    assert tables.run("SELECT count() FROM t") == "0\n"


def test_defaults_of_missing_values_are_those_of_the_table(tables: Tables) -> None:
    tables.create(
        "a UInt64, e UInt64 EPHEMERAL 5, b UInt64 DEFAULT e + a + x, x UInt64 DEFAULT a * 100, al UInt64 ALIAS a + 1, "
        "m UInt64 MATERIALIZED e * 2, c UInt64 DEFAULT m + al"
    )
    for head, data in (
        ("INSERT INTO t FORMAT JSONEachRow", b'{"a": 1}\n{"a": 2, "b": 7}\n{"a": 3, "x": 1}'),
        ("INSERT INTO t (a, b) FORMAT JSONEachRow", b'{"a": 11}\n{"a": 12, "b": 7}'),
        ("INSERT INTO t (a, e) FORMAT CSV", b"21,\n22,100\n"),
        ("INSERT INTO t (* EXCEPT (x)) FORMAT CSV", b"31,2,3\n32,,\n"),
        ("INSERT INTO t (`c`, onefold.t.a) FORMAT CSV", b"4,41\n"),
    ):
        assert tables.insert(head, data) in {STORED, "16"}
    assert tables.run("SELECT a, b, x, m, c FROM t ORDER BY a").splitlines() == [
        "1\t106\t100\t10\t12", "2\t7\t200\t10\t13", "3\t9\t1\t10\t14",
        "11\t1116\t1100\t10\t22", "12\t7\t1200\t10\t23",
        "21\t2126\t2100\t10\t32", "22\t2322\t2200\t200\t223",
        "31\t2\t3100\t10\t3", "32\t3237\t3200\t10\t43",
    ]  # fmt: skip


def test_every_kind_of_column_and_vietnamese_text_go_through(tables: Tables) -> None:
    settings = {"allow_suspicious_low_cardinality_types": "1", "allow_suspicious_variant_types": "1"}
    columns = (
        "`tên khách` String, n Nested(x UInt8, y String), low LowCardinality(UInt8), s SimpleAggregateFunction(max, UInt64), "
        "v Variant(UInt8, UInt16), j JSON, e Enum8('có' = 1), t Tuple(a UInt8, b Nullable(String)), m Map(String, UInt64)"
    )
    sql = f"CREATE OR REPLACE TABLE kinds ({columns}) ENGINE = MergeTree ORDER BY tuple()"
    assert tables.client.post("/", params=settings, content=sql).status_code == 200
    row = (
        '{"tên khách":"Nguyễn Thị Ánh","n.x":[1],"n.y":["ạ"],"low":2,"s":3,"v":4,"j":{"k":5},"e":"có","t":{"a":6,"b":null},'
        '"m":{"đ":7}}'
    )
    assert tables.insert("INSERT INTO kinds FORMAT JSONEachRow", row.encode()) == STORED
    assert tables.run("SELECT `tên khách`, n.y, low, s, v, j.k, e, t.a, m['đ'] FROM kinds FORMAT CSV").strip() == (
        '"Nguyễn Thị Ánh","[\'ạ\']",2,3,4,5,"có",6,7'
    )


@pytest.mark.parametrize(
    ("head", "data", "code"),
    [
        ("INSERT INTO nowhere FORMAT TSV", b"1\n", "60"),
        ("INSERT INTO t (nothing) FORMAT TSV", b"1\n", "16"),
        ("INSERT INTO t FORMAT Nope", b"1\n", "73"),
        ("INSERT INTO t FORMAT TSV", b"x\n", "27"),
        ("INSERT INTO t FORMAT Native", b"\x01\x01\x01a", "32"),
    ],
)
def test_a_bad_insert_has_its_own_code_and_leaves_its_session_in_order(tables: Tables, head: str, data: bytes, code: str) -> None:
    tables.create("a UInt64")
    session = {"session_id": "after-a-bad-insert"}
    assert tables.insert(head, data, **session) == code
    assert tables.insert("INSERT INTO t FORMAT TSV", b"1\n", **session) == STORED
    assert tables.run("SELECT count() FROM t") == "1\n"


@pytest.mark.parametrize(
    ("format_", "data"),
    [("TSV", b""), ("CSVWithNames", b"a\n"), ("JSONEachRow", b"[]"), ("Native", b"\x01\x00\x01a\x06UInt64")],
)
def test_data_without_a_row_is_no_error(tables: Tables, format_: str, data: bytes) -> None:
    tables.create("a UInt64")

    assert tables.insert(f"INSERT INTO t FORMAT {format_}", data) == STORED
    assert tables.run("SELECT count() FROM t") == "0\n"


def test_limits_of_reading_do_not_cut_an_insert_short(tables: Tables) -> None:
    tables.create("a UInt64")
    limits = {"limit": "1", "max_rows_to_read": "1", "read_overflow_mode": "break", "timeout_overflow_mode": "break"}
    assert tables.insert("INSERT INTO t FORMAT TSV", b"1\n2\n3\n", **limits) == STORED
    assert tables.run("SELECT count() FROM t") == "3\n"


def test_blocks_are_deduplicated_as_on_a_server(tables: Tables) -> None:
    tables.create("a UInt64", "ENGINE = MergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 100")
    for data, token in ((b"1\n", ""), (b"1\n", ""), (b"2\n", "x"), (b"3\n", "x")):
        assert tables.insert("INSERT INTO t FORMAT TSV", data, insert_deduplication_token=token) == STORED
    assert tables.run("SELECT a FROM t ORDER BY a") == "1\n2\n"


def test_an_insert_of_too_many_bytes_is_refused_whole(tables: Tables) -> None:
    tables.create("a String")
    piece = b"x" * (1 << 20) + b"\n"
    pieces = (b"INSERT INTO t FORMAT TSV\n" if n == 0 else piece for n in range(staged_insert.MAX_INSERT_BYTES // (1 << 20) + 2))
    answer = tables.client.post("/", content=pieces)
    assert answer.headers["x-clickhouse-exception-code"] == "307"
    assert tables.run("SELECT count() FROM t") == "0\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_on_a_full_disk_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    """Writers that do not stop while the disk is full, and after it has space again."""
    with small_disk(tmp_path / "disk", megabytes=96) as disk, clickhouse_server(disk.path) as url:
        httpx.post(url, content="CREATE DATABASE o ENGINE = Atomic").raise_for_status()
        httpx.post(
            url, content="CREATE TABLE o.t (a UInt64, s String CODEC(NONE)) ENGINE = MergeTree ORDER BY a"
        ).raise_for_status()

        def write(number: int) -> bool:
            row = b'{"a": %d, "s": "%b"}' % (number, os.urandom(32 << 10).hex().encode())
            answer = httpx.post(url, params={"query": "INSERT INTO o.t FORMAT JSONEachRow"}, content=row, timeout=60)
            return answer.status_code == 200

        with ThreadPoolExecutor(4) as pool:
            acknowledged = {number for number, stored in enumerate(pool.map(write, range(50))) if stored}
            disk.fill()
            during = list(pool.map(write, range(100, 140)))
            disk.free()
            acknowledged |= {100 + number for number, stored in enumerate(during) if stored}
            eventually(lambda: write(999), within_s=60)
            acknowledged.add(999)
        assert not all(during)
        rows = {int(line) for line in httpx.post(url, content="SELECT DISTINCT a FROM o.t").text.split()}
        assert acknowledged <= rows
