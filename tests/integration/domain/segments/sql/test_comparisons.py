"""Comparisons in ClickHouse and in Python: every condition of every value, as a trait and as a property."""

import unicodedata
from typing import Any, Final

import pytest

from domain.definitions.segment_plan import segment_plan_of
from tests.support.segments import customer_event, segment
from tests.support.sql_stream_comparison import assert_stream_equals_sql, load_history
from warehouse.client import Warehouse

pytestmark = pytest.mark.clickhouse
AT: Final = 1_772_323_200_000
"""2026-03-01T00:00:00Z."""
HANOI, HANOI_NFD = "Hà Nội", unicodedata.normalize("NFD", "Hà Nội")

VALUES: Final[tuple[Any, ...]] = (
    None, "", " ", HANOI, HANOI_NFD, "ha noi", "HÀ NỘI", "Đặng", "đặng", "DANG", "ĐẶNG thị Hương", "Straße", "STRASSE", "ΑΣ", "İi",
    "ffi", "①", "a\nb", "a\tb", "it's", 'say "hi"', "back\\slash", "\\n", "{p0:String}", "a\0b", "%", "🙂", "e\u0301\u0323",
    0, -0.0, 1, 1.0, 5, "5", -7, 0.1, 0.30000000000000004, 1e-7, 1e15, 1e16, 1e22, 1e308, 9007199254740991, 9007199254740992,
    9007199254740993, 9223372036854775807, 18446744073709551615, -9223372036854775808, 123456789.123,
    True, False, "true", "null", [], [1, "Hà Nội", True], ["ha noi", None, 1.5], [[1]], {}, {"a": 1}, {"a": {"b": "x"}},
    "2026-03-01", "2026-02-29", "2024-02-29", "2026-02-30", "1900-01-01", "1899-12-31", "2299-12-31", "2300-01-01", "2026-13-01",
    "2026-03-01T00:00:00Z", "2026-03-01T07:00:00+07:00", "2026-03-01t00:00z", "2026-02-28 23:59:59.999999999-00:00",
    "2026-03-01T00:00:00.001Z", "2026-03-01T24:00:00Z", "2026-03-01T23:60:00Z", "2026-03-01T00:00:60Z", "2026-03-01T00:00:00",
    "2026-03-01T00:00:00+24:00", "2026-03-01T00:00:00+23:59", "2026-03-01\n", " 2026-03-01", "2026-3-1", "0000-01-01",
)  # fmt: skip

SCALARS: Final[tuple[Any, ...]] = (
    "", HANOI, HANOI_NFD, "dang", "5", "true", "it's", 'say "hi"', "back\\slash", "\\n", "a\nb", "a\0b", "{p0:String}", "🙂",
    0, 1, 5, -7, 0.1, 0.3, 1e-7, 1e16, 1e22, 9007199254740992, 9007199254740993, 18446744073709551615, True, False,
)  # fmt: skip
DATES: Final = ("2026-03-01", "2024-02-29", "2026-03-01T00:00:00.001Z", "1900-01-01", "2299-12-31T23:59:59-23:59")


def conditions() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [{"op": "exists"}, {"op": "exists", "value": True}, {"op": "exists", "value": False}]
    for op in ("eq", "ne", "lt", "lte", "gt", "gte", "contains", "starts_with"):
        found += [{"op": op, "value": value} for value in SCALARS]
    for op in ("eq", "ne", "contains", "starts_with"):
        found += [{"op": op, "value": value, "fold": True} for value in (HANOI, "ĐẶNG", "ας", "i", "strasse", 5, True, "")]
    found += [{"op": op, "value": value} for op in ("before", "after") for value in DATES]
    mixed = [HANOI_NFD, 5, 0.1, True, "back\\slash", 9007199254740993]
    found += [
        {"op": "in", "value": mixed},
        {"op": "in", "value": ["ha noi", "ĐĂNG", 1], "fold": True},
        {"op": "in", "value": [1.0]},
    ]
    return [*found, {"op": "in", "value": [f"{number:040}" for number in range(999)] + [HANOI]}]


def relatives() -> list[dict[str, Any]]:
    ops = ("within_last", "within_next", "more_than_ago", "more_than_ahead")
    return [{"op": op, "value": length} for op in ops for length in ("1ms", "1d", "366d")]


@pytest.mark.parametrize("part", range(4))
async def test_every_condition_of_every_value(warehouse: Warehouse, part: int) -> None:
    events = []
    for number, value in enumerate(VALUES):
        person = {"user_id": f"người-{number}"}
        events.append(
            customer_event("$identify", AT - 5, identifiers=person, traits={"v": value, "số.nhà": value}, id=f"i{number}")
        )
        events.append(customer_event("Đã xem", AT - 4, {"v": value}, identifiers=person, id=f"e{number}"))
    await load_history(warehouse, events)
    segments = []
    for number, one in enumerate(conditions()):
        if number % 4 == part:
            segments.append(segment(f"trait-{number}", {"trait": {"path": "v", **one}}))
            segments.append(segment(f"event-{number}", {"did": {"event": "Đã xem", "where": [{"prop": "v", **one}]}}))
    segments += [
        segment(f"relative-{n}", {"trait": {"path": "số.nhà", **one}}) for n, one in enumerate(relatives()) if n % 4 == part
    ]
    said = await assert_stream_equals_sql(warehouse, segment_plan_of(segments), events, {}, AT)
    assert sum(0 < len(members) < len(VALUES) for members in said["members"].values()) > len(segments) / 2


PATHS: Final[tuple[dict[str, Any], ...]] = (
    {"a.b.c": 1}, {"a": {"b": {"c": 1}}}, {"a": {"b.c": 1}}, {"a.b": {"c": 1}}, {"a.b.c": None, "a": {"b": {"c": 1}}},
    {"a.b.c": 2, "a": {"b": {"c": 1}}}, {"a": {"b": {"c": None}}}, {"a": [{"b": {"c": 1}}]}, {"a": {"b": [1]}}, {"a": "b"},
    {"a": None}, {"": {"": 1}}, {".": 1}, {"a": {"": {"c": 1}}}, {"a..c": 1}, {"a": {"b": {"c": {}}}}, {"0": {"1": 1}},
    {"a": {"b": {"c": "x'y"}}},
)  # fmt: skip


async def test_dotted_paths_and_names_of_any_kind(warehouse: Warehouse) -> None:
    events = []
    for number, document in enumerate(PATHS):
        person = {"user_id": f"người-{number}"}
        events.append(customer_event("$identify", AT, identifiers=person, traits=document, id=f"i{number}"))
        events.append(customer_event("e", AT, document, identifiers=person, id=f"e{number}"))
    await load_history(warehouse, events)
    segments = []
    for number, path in enumerate(("a.b.c", "a", "a.b", ".", "a..c", "0.1", "a.b.c.d", "x")):
        for name, condition in (("any", {"op": "exists"}), ("one", {"value": 1}), ("none", {"op": "exists", "value": False})):
            segments.append(segment(f"trait-{name}-{number}", {"trait": {"path": path, **condition}}))
            where = {"event": "e", "where": [{"prop": path, **condition}]}
            segments.append(segment(f"event-{name}-{number}", {"did": where}))
    said = await assert_stream_equals_sql(warehouse, segment_plan_of(segments), events, {}, AT)
    assert len({tuple(members) for members in said["members"].values()}) > 12


async def test_latest_trait_wins_and_null_removes_it(warehouse: Warehouse) -> None:
    people = {name: {"user_id": name} for name in ("a", "b", "c", "d", "e", "f")}
    said: list[tuple[str, str, int, dict[str, Any], dict[str, Any]]] = [
        *(("a", f"m{number}", AT - 9, {"v": number}, {}) for number in range(9)),
        *(("b", f"m{number}", AT - number, {"v": number}, {}) for number in range(9)),
        ("c", "m1", AT - 2, {"v": 1}, {}), ("c", "m2", AT - 1, {"v": None}, {}),
        ("d", "m1", AT - 2, {"v": None}, {}), ("d", "m2", AT - 1, {"v": 1}, {}), ("d", "m3", AT - 1, {"w": 2}, {}),
        ("e", "m1", AT - 2, {"v": 1}, {"flags": ("bot",)}),
        ("f", "m1", AT + 1, {"v": 1}, {}),
    ]  # fmt: skip
    events = [
        customer_event("$identify", at_ms, identifiers=people[name], id=identifier, traits=traits, **more)
        for name, identifier, at_ms, traits, more in said
    ]
    await load_history(warehouse, events)
    segments = [segment(f"is-{number}", {"trait": {"path": "v", "value": number}}) for number in range(9)]
    segments.append(segment("is-not", {"trait": {"path": "v", "op": "exists", "value": False}}))
    found = await assert_stream_equals_sql(warehouse, segment_plan_of(segments), events, {}, AT, AT + 1, AT - 2)
    assert found["members"]["is-not"]
