"""The page for analysts against a migrated database: its columns are those of the views, its queries run, its grants are read."""

import re
from pathlib import Path

import pytest

from warehouse.client import Warehouse

pytestmark = pytest.mark.clickhouse

PAGE = (Path(__file__).parents[3] / "docs" / "analysts.md").read_text(encoding="utf-8")
STATEMENTS = [statement.strip() for block in re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL) for statement in block.split(";")]
QUERIES = [statement for statement in STATEMENTS if statement.startswith("SELECT")]
ADMINISTRATION = [statement for statement in STATEMENTS if statement and not statement.startswith("SELECT")]


def described_columns() -> dict[str, set[str]]:
    """Return the columns that the page names for each view, without what it says of them in parentheses."""
    columns: dict[str, set[str]] = {}
    for views, names in re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|[^|]*\|([^|]+)\|$", PAGE, re.MULTILINE):
        for view in re.findall(r"`(\w+)`", views):
            same = re.search(r"as `(\w+)`;", names)
            columns[view] = columns[same[1]] if same else set(re.findall(r"`(\w+)`", re.sub(r"\([^)]*\)", "", names)))
    return {view: names for view, names in columns.items() if names}


async def test_the_columns_that_the_page_names_are_those_of_its_views(warehouse: Warehouse) -> None:
    described = described_columns()
    assert {"events", "profiles", "memberships", "transitions", "deliveries", "accounts"} <= described.keys()
    sql = "SELECT name FROM system.columns WHERE database = currentDatabase() AND table = {view:String}"
    for view, names in described.items():
        existing = {name for (name,) in await warehouse.query(sql, {"view": view})}
        assert names <= existing, view
        if view in {"events", "profiles", "memberships", "computed_traits"}:  # those that everybody reads are described whole
            assert names == existing, view


async def test_the_queries_of_the_page_run(warehouse: Warehouse) -> None:
    assert len(QUERIES) == 2
    for query in QUERIES:
        assert await warehouse.query(query) == []


async def test_the_statements_for_an_administrator_are_read_by_clickhouse(warehouse: Warehouse) -> None:
    assert len(ADMINISTRATION) == 6
    for statement in ADMINISTRATION:
        assert await warehouse.query(f"EXPLAIN AST {statement}")


async def test_the_limits_that_the_page_gives_a_reader_of_a_server_are_settings_of_clickhouse(warehouse: Warehouse) -> None:
    names = re.findall(r"^ {4}(\w+) = ", ADMINISTRATION[0], re.MULTILINE)
    assert len(names) > 4
    known = "SELECT name FROM system.settings WHERE name IN {names:Array(String)}"
    assert {name for (name,) in await warehouse.query(known, {"names": names})} == set(names)
