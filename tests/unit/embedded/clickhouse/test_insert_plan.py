"""The parts of an INSERT, as the temporary table needs them."""

import pytest

from embedded.clickhouse.insert_plan import InsertPlan, plan_insert
from embedded.clickhouse.protocol import QueryRefused


@pytest.mark.parametrize(
    ("statement", "plan"),
    [
        ("INSERT INTO t", InsertPlan("t", "", (), "")),
        ("insert into table db.t (a, b)", InsertPlan("db.t", "a, b", ("a", "b"), "")),
        (
            'INSERT INTO `d b`."t(1)" (`a b`, n.x, "c""d")',
            InsertPlan('`d b`."t(1)"', '`a b`, n.x, "c""d"', ("a b", "n.x", 'c"d'), ""),
        ),
        ("INSERT INTO t SETTINGS async_insert = 1, x = '('", InsertPlan("t", "", (), "SETTINGS async_insert = 1, x = '('")),
        ("INSERT INTO t (a) SETTINGS b = 2", InsertPlan("t", "a", ("a",), "SETTINGS b = 2")),
        ("INSERT INTO t (* EXCEPT (a))", InsertPlan("t", "* EXCEPT (a)", None, "")),
        ("INSERT INTO t (COLUMNS('x.*'))", InsertPlan("t", "COLUMNS('x.*')", None, "")),
        ("INSERT INTO FUNCTION null('x UInt8, y String') (y)", InsertPlan("null('x UInt8, y String')", "y", ("y",), "")),
        ("INSERT INTO {d:Identifier}.{t:Identifier} (a)", InsertPlan("{d:Identifier}.{t:Identifier}", "a", ("a",), "")),
        ("INSERT INTO settings (settings)", InsertPlan("settings", "settings", ("settings",), "")),
        ("INSERT /* into x ( */ INTO t -- (b)\n (a)", InsertPlan("t", "a", ("a",), "")),
    ],
)
def test_an_insert_is_taken_apart(statement: str, plan: InsertPlan) -> None:
    assert plan_insert(statement) == plan


@pytest.mark.parametrize("statement", ["INSERT", "INSERT INTO", "INSERT INTO (a)", "INSERT INTO t (a", "INSERT INTO FUNCTION f"])
def test_an_insert_without_a_table_or_with_an_open_bracket_is_refused(statement: str) -> None:
    with pytest.raises(QueryRefused, match="Code: 62"):
        plan_insert(statement)


@pytest.mark.parametrize("columns", ["a,", ",a", "a b", "a..b", "a.", "a + 1", "'a'"])
def test_a_list_that_is_not_of_names_is_left_to_the_engine(columns: str) -> None:
    assert plan_insert(f"INSERT INTO t ({columns})").names is None
