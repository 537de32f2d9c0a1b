"""The statement scan: what is closed stays closed however it is written, and ordinary statements pass."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedded.clickhouse.lexer import AmbiguousSyntax, tokens
from embedded.clickhouse.statement_scan import Incomplete, InsertHead, find_values, forbidden_parameter, insert_head, scan

ATTACKS = [
    "SELECT file('/etc/passwd')",
    "SELECT FILE ('/etc/passwd')",
    "SELECT `file`('/etc/passwd')",
    "SELECT \"file\" /* x */ ('/etc/passwd')",
    "SELECT `\\x66ile`('/etc/passwd')",
    "/* /* */ ' */ SELECT file('/etc/passwd') -- '",
    "SELECT 1 -- '\n, file('/etc/passwd') -- '",
    "SELECT '\\'', file('/etc/passwd')",
    "SELECT '''', file('/etc/passwd')",
    "SELECT $x$ ' $x$, file('/etc/passwd') -- '",
    "SELECT arrayMap(file, ['/etc/passwd'])",
    "SELECT arrayMap((file), ['/etc/passwd'])",
    "SELECT * APPLY file FROM t",
    "SELECT * APPLY(file) FROM t",
    "CREATE FUNCTION f AS x -> file(x)",
    "CREATE VIEW v AS SELECT file('/etc/passwd')",
    "SELECT * FROM python(x)",
    "SELECT * FROM executable('x.sh', 'TSV', 'a String')",
    "SELECT * FROM eval('SELECT 1')",
    "SELECT * FROM sqlite('data/metadata/x.sql', 't')",
    "DESCRIBE \"SQLite\" /* x */ ('x.db', 't')",
    "SELECT * FROM loop(sqlite('x.db', 't'))",
    "INSERT INTO FUNCTION sqlite('x.db', 't') VALUES (1)",
    "SELECT 1 INTO OUTFILE '/tmp/x'",
    "INSERT INTO t FROM INFILE '/etc/passwd' FORMAT TSV",
    "INSERT INTO t VALUES (file('/etc/passwd'))",
    "CREATE DICTIONARY d (k UInt64) PRIMARY KEY k SOURCE(EXECUTABLE(COMMAND 'id' FORMAT TSV)) LAYOUT(FLAT()) LIFETIME(0)",
    "CREATE DICTIONARY d (k UInt64) PRIMARY KEY k SOURCE(`\\x45XECUTABLE`(COMMAND 'id')) LAYOUT(FLAT()) LIFETIME(0)",
    "CREATE DICTIONARY d (k UInt64) PRIMARY KEY k SOURCE(HTTP(URL 'http://127.0.0.1/' FORMAT TSV)) LAYOUT(FLAT())",
    "CREATE TABLE t (x String) ENGINE = File(TSV)",
    "CREATE TABLE t (x String) ENGINE File",
    "CREATE TABLE t (x String) ENGINE = FileLog('/etc', 'LineAsString')",
    "CREATE TABLE t (x UInt64) ENGINE = EmbeddedRocksDB(0, '/tmp/x') PRIMARY KEY x",
    "CREATE TABLE t (x UInt64) ENGINE = MergeTree ORDER BY x SETTINGS disk = disk(type = 'web', endpoint = 'http://127.0.0.1/')",
    "CREATE DATABASE d ENGINE = Filesystem('/etc')",
]
ORDINARY = [
    "SELECT 'file(' AS x -- file(\n",
    "SELECT a, file FROM t",
    "SELECT t.file FROM t",
    "SELECT sqlite FROM t",
    "SELECT count() FROM t WHERE name = 'Nguyễn; Thị Ánh' /* file( */",
    "SELECT {name:String}, x::Date FROM t WHERE a[1] != 2 AND b % 2 = 0",
    "CREATE TABLE t (x UInt64) ENGINE = ReplacingMergeTree(x) ORDER BY x",
    "CREATE DATABASE onefold ENGINE = Atomic",
    "CREATE DICTIONARY d (k UInt64) PRIMARY KEY k SOURCE(CLICKHOUSE(TABLE 't')) LAYOUT(FLAT()) LIFETIME(1)",
    "SELECT name FROM system.tables WHERE engine = 'File'",
    "SELECT 1;",
]


@pytest.mark.parametrize("sql", ATTACKS)
def test_closed_things_are_found_however_they_are_written(sql: str) -> None:
    assert scan(sql).forbidden is not None


@pytest.mark.parametrize("sql", ORDINARY)
def test_ordinary_statements_pass(sql: str) -> None:
    statement = scan(sql)
    assert statement.forbidden is None
    assert statement.statement_count == 1


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT \u2018 ' \u2019 , file('/etc/passwd') -- '",
        "SELECT \u201cx\u201d",
        "SELECT 'open",
        "SELECT /* /* */ 1",
        "SELECT $a b$ ' $a b$",
        "SELECT 1#2",
        "SELECT 1\0",
        "SELECT 1$x$ ' $x$",
    ],
)
def test_ambiguous_sql_text_is_classified_unclear(sql: str) -> None:
    with pytest.raises(AmbiguousSyntax):
        scan(sql)


@pytest.mark.parametrize(
    ("sql", "count"), [("SELECT 1; SELECT 2", 2), ("SELECT ';'", 1), ("SELECT 1;;", 1), ("SELECT 1 -- ;\n", 1), ("a;b;c", 3)]
)
def test_statements_are_counted(sql: str, count: int) -> None:
    assert scan(sql).statement_count == count


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        ("SELECT 1 FORMAT JSON", "JSON"),
        ("SELECT 1 FORMAT JSON SETTINGS max_threads = 1;", "JSON"),
        ("SELECT 1 SETTINGS max_threads = 1 FORMAT CSV", "CSV"),
        ("SELECT 1 -- FORMAT JSON", None),
        ("SELECT 'x FORMAT JSON'", None),
        ("SELECT format('{}', 1)", None),
        ("SELECT 1 AS format", None),
    ],
)
def test_the_output_format_is_told_from_the_tokens(sql: str, named: str | None) -> None:
    assert scan(sql).format == named


def test_the_first_word_is_that_of_the_statement() -> None:
    assert scan("/* x */ ((SELECT 1))").first_word == "select"
    assert scan("WITH 1 AS x INSERT INTO t SELECT x").first_word == "insert"


def test_a_name_given_as_a_parameter_is_closed_too() -> None:
    statement = scan("SELECT arrayMap({f:Identifier}, ['x'])")
    assert forbidden_parameter(statement, {"f": " `FILE` "}) == "f"
    assert forbidden_parameter(statement, {"f": "lower"}) is None
    assert forbidden_parameter(scan("SELECT {f:String}"), {"f": "file"}) is None


@pytest.mark.parametrize(
    ("text", "statement", "named", "data"),
    [
        ("INSERT INTO t FORMAT TSV\n1\t2\n", "INSERT INTO t", "TSV", "1\t2\n"),
        ("INSERT INTO t (id, format) FORMAT JSONEachRow {}", "INSERT INTO t (id, format)", "JSONEachRow", "{}"),
        ("insert into t settings a=1 format CSV\r\n1", "insert into t settings a=1", "CSV", "1"),
        ("INSERT INTO t FORMAT Native\n '\0;file(", "INSERT INTO t", "Native", " '\0;file("),
        ("-- x\nINSERT INTO t FORMAT TSV", "-- x\nINSERT INTO t", "TSV", ""),
    ],
)
def test_the_head_of_an_insert_is_cut_from_its_data(text: str, statement: str, named: str, data: str) -> None:
    head = insert_head(text, is_complete=True)
    assert isinstance(head, InsertHead)
    assert head.statement == statement
    assert head.format == named
    assert text[head.data_at :] == data


@pytest.mark.parametrize(
    "text", ["SELECT 1 FORMAT TSV", "INSERT INTO t VALUES (1)", "INSERT INTO t SELECT 1 FORMAT TSV", "INSERT INTO t"]
)
def test_other_statements_have_no_head(text: str) -> None:
    assert insert_head(text, is_complete=True) is None


@given(st.integers(0, 24))
def test_a_cut_head_is_never_misread(cut: int) -> None:
    text = "INSERT INTO t FORMAT TSV\n"
    results = insert_head(text[:cut], is_complete=False)
    assert isinstance(results, Incomplete)


@given(st.text(), st.sampled_from(["'", '"', "`"]))
def test_a_quoted_text_is_one_token_and_ends_where_it_should(text: str, quote: str) -> None:
    quoted = quote + text.replace("\\", "\\\\").replace(quote, quote * 2) + quote
    results = list(tokens(f"{quoted} , x"))
    assert [token.kind for token in results][1:] == ["symbol", "word"]
    if quote != "'":
        assert results[0].text == text


@given(st.text(max_size=200))
def test_any_text_is_read_or_unclear(text: str) -> None:
    try:
        scan(text)
    except AmbiguousSyntax:
        return
    assert all(token.start < token.end for token in tokens(text))


@given(st.text(alphabet="ab'\\ /*-\n", max_size=30))
def test_a_closed_call_after_any_readable_start_is_found_or_unclear(start: str) -> None:
    hidden = f"SELECT {start}"
    try:
        list(tokens(hidden))
        statement = scan(f"{hidden} \n, file('x')")
    except AmbiguousSyntax:
        return
    assert statement.forbidden is not None


def test_plain_values_need_no_scan_and_doubtful_ones_do() -> None:
    text = "INSERT INTO t (a) VALUES (1, 'Nguyễn', now())"
    assert find_values(text) == text.index(" (1")
    assert find_values("INSERT INTO t VALUES (file('x'))") is None
    assert find_values("INSERT INTO t VALUES (1); DROP TABLE t") is None
    assert find_values('INSERT INTO t VALUES ("\\x66ile"(1))') is None
    assert find_values("SELECT 1") is None
