"""What a reader may set: numbers within the bounds, however the statement is written, and nothing that leads out of them."""

import pytest

from embedded.clickhouse.lexer import tokens
from embedded.clickhouse.limits import UserLimits, limits_of
from embedded.clickhouse.protocol import QueryRefused
from embedded.clickhouse.setting_clauses import setting_changes
from embedded.clickhouse.statement_scan import scan

READER = limits_of("analyst", 3 << 30, 8)


def check(limits: UserLimits, sql: str) -> None:
    limits.check_settings(scan(sql).settings)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1 SETTINGS max_execution_time = 601",
        "SELECT 1 SETTINGS max_execution_time = 0",
        "SELECT 1 SETTINGS max_execution_time = -1",
        "SELECT 1 SETTINGS max_execution_time = 1e9",
        "SELECT 1 SETTINGS max_execution_time = 9.5",
        "SELECT 1 SETTINGS max_execution_time = DEFAULT",
        "SELECT 1 SETTINGS max_execution_time = {x:UInt64}",
        "SELECT 1 SETTINGS max_execution_time = '5 '",
        "SELECT 1 SETTINGS `max_execution_time`=601 FORMAT JSON",
        "SELECT 1 settings log_comment = ',', \"max_threads\" = 5",
        "SELECT 1 SETTINGS additional = {'a': 1, 'b': [2, 3]}, max_threads = 5",
        "SELECT * FROM (SELECT 1 SETTINGS max_memory_usage = 0)",
        "WITH x AS (SELECT 1 SETTINGS max_memory_usage = 0) SELECT * FROM x SETTINGS max_threads = 1",
        "SELECT 1 /* SETTINGS */ SETTINGS /* x */ max_memory_usage /* y */ = 0",
        "SELECT 1 SETTINGS max_execution_time = " + "9" * 5_000,
        "SET max_execution_time = DEFAULT",
        "SET log_comment = 'x', max_execution_time = 10000",
        "SET readonly = DEFAULT",
        "SET readonly = 1",
        "SELECT * FROM (SELECT 1 SETTINGS readonly = 0)",
        "SELECT 1 SETTINGS profile = 'default'",
        "SELECT 1 SETTINGS chdb_client_name = 'app.onefold/1'",
        "SELECT 1 SETTINGS max_untracked_memory = 1000000000000",
        "SELECT sleep(3) SETTINGS function_sleep_max_microseconds_per_block = 1000000000000",
    ],
)
def test_no_statement_of_a_reader_lifts_a_limit(sql: str) -> None:
    with pytest.raises(QueryRefused, match=r"Code: (452|164)\."):
        check(READER, sql)
    check(limits_of("app", 3 << 30, 8), sql)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1 SETTINGS max_execution_time = 30, max_threads = 4",
        "SELECT 1 SETTINGS max_execution_time = '30'",
        "SELECT 1 SETTINGS readonly = 2",
        "SET max_memory_usage = 1000000",
        "SELECT settings, max_threads FROM t WHERE max_threads = 0",
        "SELECT 'SETTINGS max_threads = 0'",
        "SELECT Settings['max_threads'] FROM system.query_log",
        "SELECT name FROM system.settings WHERE name = 'readonly'",
        "SELECT 1 SETTINGS log_comment = 'readonly = 0'",
    ],
)
def test_a_reader_sets_what_lies_within_the_limits(sql: str) -> None:
    check(READER, sql)


def test_settings_are_found_with_their_literal_values() -> None:
    sql = "SELECT * FROM (SELECT 1 SETTINGS a = 1, `b` = 'x') SETTINGS c = DEFAULT, d = {e:UInt8}, f = 2 + 1"
    assert [tuple(change) for change in setting_changes(list(tokens(sql)))] == [
        ("a", "1"),
        ("b", "x"),
        ("c", None),
        ("d", None),
        ("f", None),
    ]


def test_a_reader_runs_as_many_queries_as_there_are_processors_from_four_to_eight() -> None:
    assert [limits_of("analyst", 3 << 30, processors).queries for processors in (1, 2, 6, 64)] == [4, 4, 6, 8]


def test_a_reader_has_half_of_the_threads_and_at_least_one() -> None:
    assert READER.bounds["max_threads"] == 4
    assert limits_of("analyst", 3 << 30, 1).bounds["max_threads"] == 1


def test_the_work_of_looking_for_settings_grows_with_the_length_alone() -> None:
    parts = list(tokens("SELECT 1 " + "SETTINGS a = 1, " * 100_000))
    assert sum(1 for _ in setting_changes(parts)) == 200_000 - 1
