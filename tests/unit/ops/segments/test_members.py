"""Members of a segment with their contacts, as lines of CSV and as JSON."""

import csv
import io
from collections.abc import AsyncIterator, Mapping
from typing import Any, cast

import pytest

from ops.segments.members import COLUMNS, csv_lines, member_cells, member_to_json, stream_members
from warehouse.client import Warehouse

LAN = (
    "0" * 32, 1_764_460_800_000, "event",
    [("anonymous_id", "cookie"), ("email", "lan@shop.vn"), ("email", "a@shop.vn"), ("phone", "+84912345678"), ("user_id", "KH-7")],
    '{"name": "Nguyễn Thị Lan", "city": "Huế"}',
)  # fmt: skip
ATTACK = ("1" * 32, 1_764_460_800_000, "timer", [("user_id", "=cmd"), ("phone", "+84912345678"), ("phone", "+84912345679")], "{}")
SPLIT_NAME: tuple[Any, ...] = ("2" * 32, 1_764_460_800_000, "event", [], '{"firstName": "Lan", "lastName": "Nguyễn"}')
GONE: tuple[Any, ...] = ("3" * 32, 1_764_460_800_000, "event", [], "")


class TwinWarehouse:
    """Answers every stream with two blocks."""

    async def stream_query(self, sql: str, parameters: Mapping[str, Any]) -> AsyncIterator[list[tuple[Any, ...]]]:
        assert "memberships" in sql
        assert parameters == {"segment": "vip"}
        yield [LAN, ATTACK]
        yield [SPLIT_NAME, GONE]


@pytest.fixture
async def rows() -> list[dict[str, str]]:
    blocks = [block async for block in stream_members(cast("Warehouse", TwinWarehouse()), "vip")]
    text = "".join(csv_lines([COLUMNS, *(member_cells(member) for block in blocks for member in block)]))
    return list(csv.DictReader(io.StringIO(text)))


def test_members_have_their_contacts_and_no_cookies(rows: list[dict[str, str]]) -> None:
    assert rows[0] == {
        "profile_id": "0" * 32, "since": "2025-11-30T00:00:00.000Z", "cause": "event", "name": "Nguyễn Thị Lan", "user_id": "KH-7",
        "crm_id": "", "email": "a@shop.vn;lan@shop.vn", "phone": "+84912345678",
    }  # fmt: skip
    assert [row["name"] for row in rows[2:]] == ["Nguyễn Lan", ""]


def test_a_spreadsheet_runs_no_cell_and_phones_stay_phones(rows: list[dict[str, str]]) -> None:
    assert rows[1]["user_id"] == "'=cmd"
    assert rows[1]["phone"] == "+84912345678;+84912345679"
    [line] = csv_lines([["+84 912+cmd()", "-1+1", "@x", "\tx", "a,b\n", ""]])
    assert next(csv.reader(io.StringIO(line))) == ["'+84 912+cmd()", "'-1+1", "'@x", "'\tx", "a,b\n", ""]


async def test_json_has_all_values_of_a_namespace() -> None:
    [first, _] = [block async for block in stream_members(cast("Warehouse", TwinWarehouse()), "vip")]
    assert member_to_json(first[0])["email"] == ["a@shop.vn", "lan@shop.vn"]
    assert member_to_json(first[1])["user_id"] == ["=cmd"]
