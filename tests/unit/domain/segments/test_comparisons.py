"""Comparing one value: two-valued, no coercion, NFC; folding, dates, relative dates, paths."""

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.definitions.kinds import InvalidDefinition, Segment, decode_definition, encode_definition
from domain.segments.comparisons import (
    TEXT_OPS,
    Comparison,
    evaluate_relative_date,
    fold_text,
    holds,
    lookup,
    value_kind,
)
from domain.segments.dates import parse_instant
from domain.segments.language import walk_nodes
from domain.segments.leaves.trait import TraitCondition
from schemas.instants import DAY_MS, NEVER
from tests.support.segments import evaluate_leaf, segment

OPS = ["eq", "ne", "lt", "lte", "gt", "gte", "in", "contains", "starts_with", "before", "after"]
NAME = "Nguyễn Thị Ánh"


def condition(op: str, value: Any = None, **more: Any) -> Comparison:
    return Comparison.model_validate({"op": op, **({} if value is None else {"value": value}), **more})


def operand(op: str, value: Any) -> Any:
    return [value] if op == "in" else "2026-11-22" if op in ("before", "after") else value


MISSING: Any = None
VALUES: list[Any] = [MISSING, "5", "Huế", "", "2026-11-22", 5, 5.0, 0, -1, True, False, [5], ["5", True], [], {"a": 5}, {}]


def text(values: list[Any]) -> list[str]:
    """Return a sorted text of each value that tells 5, 5.0, "5" and True apart."""
    return sorted(map(repr, values))


@pytest.mark.parametrize(
    ("op", "value", "true_of"),
    [
        ("eq", 5, [5, 5.0]), ("eq", "5", ["5"]), ("eq", True, [True]), ("eq", False, [False]), ("eq", 0, [0]), ("eq", "", [""]),
        ("in", [5, "Huế"], [5, 5.0, "Huế"]), ("in", [True, 0], [True, 0]), ("in", ["", False], ["", False]),
        ("lt", 5, [0, -1]), ("lte", 5, [5, 5.0, 0, -1]), ("gt", 0, [5, 5.0]), ("gte", 0, [5, 5.0, 0]),
        ("lt", "5", ["", "2026-11-22"]), ("gte", "5", ["5", "Huế"]), ("gt", True, []), ("lte", False, []),
        ("contains", "u", ["Huế"]), ("contains", "", ["5", "Huế", "", "2026-11-22"]), ("contains", 5, [[5]]),
        ("contains", "5", ["5", ["5", True]]), ("contains", True, [["5", True]]), ("starts_with", "H", ["Huế"]),
        ("starts_with", "", ["5", "Huế", "", "2026-11-22"]), ("starts_with", 5, []), ("starts_with", True, []),
        ("exists", None, VALUES[1:]), ("exists", True, VALUES[1:]), ("exists", False, [MISSING]),
        ("before", "2026-11-23", ["2026-11-22"]), ("after", "2026-11-21", ["2026-11-22"]), ("before", "2026-11-22", []),
        ("after", "2026-11-22", []),
    ],
)  # fmt: skip
def test_an_operator_holds_of_these_values_and_of_no_others(op: str, value: Any, true_of: list[Any]) -> None:
    assert text([one for one in VALUES if holds(condition(op, value), one)]) == text(true_of)


@pytest.mark.parametrize("value", [5, "5", True, "Huế"])
def test_ne_is_true_of_whatever_is_there_and_is_not_equal(value: Any) -> None:
    different = [one for one in VALUES if one is not MISSING and not holds(condition("eq", value), one)]
    assert text([one for one in VALUES if holds(condition("ne", value), one)]) == text(different)


@pytest.mark.parametrize("op", OPS)
def test_a_missing_value_makes_a_comparison_false_and_its_not_true(op: str) -> None:
    where = {"trait": {"path": "t", "op": op, "value": operand(op, "x")}}
    assert not evaluate_leaf(where, [], 0).holds
    assert not evaluate_leaf(where, [], 0, traits={"t": None}).holds


@given(
    left=st.one_of(
        st.none(), st.booleans(), st.integers(-2, 2), st.floats(-2, 2), st.text("ab", max_size=2), st.just([1]), st.just({"a": 1})
    ),
    op=st.sampled_from(OPS),
    right=st.sampled_from(["a", 1, True, 0.5]),
)
def test_every_condition_is_true_or_false(left: Any, op: str, right: Any) -> None:
    assert holds(condition(op, operand(op, right)), left) in (True, False)


@given(left=st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()))
def test_a_value_equals_itself_and_no_value_of_another_kind(left: Any) -> None:
    assert holds(condition("eq", left), left)
    for other in ("x", 7, True):
        if value_kind(other) != value_kind(left):
            assert not holds(condition("eq", left), other)


@pytest.mark.parametrize("op", ["eq", "in", "contains", "starts_with", "gte", "lte"])
@pytest.mark.parametrize(("held", "asked"), [("NFD", "NFC"), ("NFC", "NFD"), ("NFD", "NFD")])
def test_text_is_compared_in_one_unicode_form(op: str, held: Any, asked: Any) -> None:
    spelled: Any = unicodedata.normalize(asked, NAME)
    assert holds(condition(op, operand(op, spelled)), unicodedata.normalize(held, NAME))
    assert not holds(condition("ne", spelled), unicodedata.normalize(held, NAME))
    if op == "contains":
        assert holds(condition(op, spelled), [1, unicodedata.normalize(held, NAME)])


def test_case_and_accents_matter_unless_folded() -> None:
    for spelled in ("hà nội", "Ha Noi", "HÀ NỘI"):
        assert not holds(condition("eq", spelled), "Hà Nội")
        assert holds(condition("eq", spelled, fold=True), "Hà Nội")


@pytest.mark.parametrize(
    ("value", "folded"),
    [
        ("Đà Nẵng", "da nang"), ("đà nẵng", "da nang"), ("DA NANG", "da nang"), ("Thừa Thiên Huế", "thua thien hue"),
        ("Nguyễn Thị Ánh Nguyệt", "nguyen thi anh nguyet"), ("Ước mơ, ƯỚC MƠ", "uoc mo, uoc mo"), ("Ỷ ỵ Ỹ", "y y y"),
        (unicodedata.normalize("NFD", "Đặng Văn Ngữ"), "dang van ngu"), ("Crème Brûlée", "creme brulee"), ("", ""),
        ("\u00d0iện Biên Phủ", "dien bien phu"), ("\u00f0iện biên phủ", "dien bien phu"),
        ("\u0189à Lạt", "da lat"), ("\u0256à lạt", "da lat"),
    ],
)  # fmt: skip
def test_folding_takes_case_and_accents_away(value: str, folded: str) -> None:
    assert fold_text(value) == folded
    for op in ("eq", "in", "contains", "starts_with"):
        assert holds(condition(op, operand(op, folded), fold=True), value)
        assert holds(condition(op, operand(op, value), fold=True), folded)
    assert not holds(condition("ne", folded, fold=True), value)
    assert holds(condition("contains", folded, fold=True), ["x", value])


def test_folding_leaves_other_kinds_alone() -> None:
    assert holds(condition("eq", 5, fold=True), 5)
    assert not holds(condition("eq", "5", fold=True), 5)
    assert holds(condition("ne", "5", fold=True), 5)


@pytest.mark.parametrize("op", [op for op in OPS if op not in TEXT_OPS])
def test_folding_goes_with_text_alone(op: str) -> None:
    with pytest.raises(ValidationError, match="fold"):
        condition(op, operand(op, "x"), fold=True)


HOUR = 3_600_000
DAY = 1_795_305_600_000  # 2026-11-22T00:00:00Z


@pytest.mark.parametrize(
    ("value", "at_ms"),
    [
        ("1970-01-01", 0), ("2026-11-22", DAY), ("2026-11-22T00:00:00Z", DAY), ("2026-11-22T07:00:00+07:00", DAY),
        ("2026-11-21t17:30-06:30", DAY), ("2026-11-22 00:00z", DAY), ("2026-11-22T00:00:00.5Z", DAY + 500),
        ("2026-11-22T00:00:00.1239Z", DAY + 123), ("2026-11-22T23:59:59.999999999Z", DAY + DAY_MS - 1), ("1969-12-31", -DAY_MS),
        ("1900-01-01", -25_567 * DAY_MS), ("2299-12-31", 120_529 * DAY_MS), ("2024-02-29", 19_782 * DAY_MS),
    ],
)  # fmt: skip
def test_a_date_is_an_instant(value: str, at_ms: int) -> None:
    assert parse_instant(value) == at_ms


@pytest.mark.parametrize(
    "value",
    [
        "2026-02-29", "1900-02-29", "2026-04-31", "2026-13-01", "2026-00-10", "2026-01-00", "1899-12-31", "2300-01-01",
        "2026-11-22T24:00Z", "2026-11-22T23:60Z", "2026-11-22T23:59:60Z", "2026-11-22T00:00:00", "2026-11-22T00:00+24:00",
        "2026-11-22T00:00+07:60", "2026-11-22T00:00:00.Z", "2026-11-22T00:00:00.1234567890Z", "22/11/2026", "20261122",
        "2026-11-22 ", " 2026-11-22", "2026-11-22\n", "2026-11-22T00:00Z\n", "", DAY, 1.5, True, None, ["2026-11-22"], {},
    ],
)  # fmt: skip
def test_non_dates_are_no_instants(value: Any) -> None:
    assert parse_instant(value) is None
    assert not holds(condition("before", "2200-01-01"), value)
    assert not holds(condition("after", "1901-01-01"), value)


@pytest.mark.parametrize(
    ("value", "before", "after"),
    [
        ("2026-11-22T06:59:59.999+07:00", True, False),
        ("2026-11-22T07:00:00+07:00", False, False),
        ("2026-11-22T00:00:00.001Z", False, True),
        ("2026-11-21", True, False),
    ],
)
def test_dates_are_compared_as_instants(value: str, before: bool, after: bool) -> None:
    for asked in ("2026-11-22", "2026-11-22T00:00:00Z", "2026-11-21T19:00:00-05:00"):
        assert holds(condition("before", asked), value) is before
        assert holds(condition("after", asked), value) is after


WEEK = 7 * DAY_MS


@pytest.mark.parametrize(
    ("op", "now_ms", "inside", "next_ms"),
    [
        ("within_last", DAY - 1, False, DAY), ("within_last", DAY, True, DAY + WEEK),
        ("within_last", DAY + WEEK - 1, True, DAY + WEEK), ("within_last", DAY + WEEK, False, NEVER),
        ("within_next", DAY - WEEK - 1, False, DAY - WEEK), ("within_next", DAY - WEEK, True, DAY),
        ("within_next", DAY - 1, True, DAY), ("within_next", DAY, False, NEVER),
        ("more_than_ago", DAY, False, DAY + WEEK), ("more_than_ago", DAY + WEEK - 1, False, DAY + WEEK),
        ("more_than_ago", DAY + WEEK, True, NEVER), ("more_than_ahead", DAY - WEEK - 1, True, DAY - WEEK),
        ("more_than_ahead", DAY - WEEK, False, NEVER), ("more_than_ahead", DAY + WEEK, False, NEVER),
    ],
)  # fmt: skip
def test_a_relative_date_turns_at_its_edges_and_says_when(op: str, now_ms: int, inside: bool, next_ms: int) -> None:
    assert evaluate_relative_date(op, DAY, WEEK, now_ms) == (inside, next_ms)
    found = evaluate_leaf({"trait": {"path": "t", "op": op, "value": "7d"}}, [], now_ms, traits={"t": "2026-11-22"})
    assert found.holds == inside
    assert found.next_change_ms == next_ms


@given(
    op=st.sampled_from(["within_last", "within_next", "more_than_ago", "more_than_ahead"]),
    length_ms=st.integers(1, 6),
    now_ms=st.integers(-12, 12),
)
def test_a_relative_date_changes_at_its_next_instant_and_not_before(op: str, length_ms: int, now_ms: int) -> None:
    def in_truth(now: int) -> bool:
        return {
            "within_last": now - length_ms < 0 <= now,
            "within_next": now < 0 <= now + length_ms,
            "more_than_ago": now - length_ms >= 0,
            "more_than_ahead": now + length_ms < 0,
        }[op]

    inside, next_ms = evaluate_relative_date(op, 0, length_ms, now_ms)
    assert inside is in_truth(now_ms)
    later = (now for now in range(now_ms + 1, 40) if in_truth(now) is not inside)
    assert next_ms == next(later, NEVER)


@pytest.mark.parametrize("value", ["hôm qua", "2026-02-30", 5, True, ["2026-11-22"], None])
def test_a_relative_date_of_no_date_is_false_and_sleeps(value: Any) -> None:
    for op in ("within_last", "within_next", "more_than_ago", "more_than_ahead"):
        found = evaluate_leaf({"trait": {"path": "t", "op": op, "value": "7d"}}, [], DAY, traits={"t": value})
        assert found.holds is False
        assert found.next_change_ms == NEVER


@pytest.mark.parametrize(
    ("values", "path", "found"),
    [
        ({"a.b": 1, "a": {"b": 2}}, "a.b", 1), ({"a": {"b": {"c": 2}}}, "a.b.c", 2), ({"a": 1}, "a.b", None),
        ({"a": [{"b": 1}]}, "a.b", None), ({"a": {"b": None}}, "a.b", None), ({"a": {"": 3}}, "a.", 3), ({}, "a", None),
        ({"địa chỉ": {"phố": "Huế"}}, "địa chỉ.phố", "Huế"), ({"a": {"b": False}}, "a.b", False),
    ],
)  # fmt: skip
def test_a_dotted_path_is_the_whole_key_first(values: dict[str, Any], path: str, found: Any) -> None:
    assert lookup(values, path) is found or lookup(values, path) == found
    assert evaluate_leaf({"trait": {"path": path, "op": "exists"}}, [], 0, traits=values).holds is (found is not None)


def test_a_computed_trait_has_a_path_of_its_own() -> None:
    where = {"trait": {"path": "computed.rfm.score", "value": "555"}}
    assert evaluate_leaf(where, [], 0, computed={"rfm": {"score": "555"}}).holds
    assert not evaluate_leaf(
        where, [], 0, computed={}, traits={"computed.rfm.score": "555", "computed": {"rfm": {"score": "555"}}}
    ).holds


@pytest.mark.parametrize("value", [True, False, 1, 0, 1.5, "1", "true", [True, 1, "x", 0.5]])
def test_the_kind_of_an_operand_survives_reading_writing_and_reading(value: Any) -> None:
    where = {"trait": {"path": "t", "op": "in" if isinstance(value, list) else "eq", "value": value}}
    again = decode_definition(encode_definition(segment("s", where)), "test")
    assert isinstance(again, Segment)
    [node] = walk_nodes(again.spec.where)
    assert isinstance(node, TraitCondition)
    operand = list(node.trait.value) if isinstance(node.trait.value, tuple) else node.trait.value
    assert repr(operand) == repr(value)


@pytest.mark.parametrize(
    ("op", "value"),
    [
        ("eq", float("nan")), ("eq", float("inf")), ("eq", None), ("eq", {"a": 1}), ("eq", ["x"]), ("in", "x"), ("in", []),
        ("in", ["x"] * 1_001), ("in", [["x"]]), ("exists", "yes"), ("exists", 1), ("exists", 0), ("before", "tomorrow"),
        ("after", 5), ("before", "2026-02-30"), ("within_last", "7"), ("within_last", 7), ("within_next", "0d"),
        ("more_than_ago", "4000d"), ("more_than_ago", None), ("like", "x"),
    ],
)  # fmt: skip
def test_an_operand_that_cannot_be_compared_is_refused(op: str, value: Any) -> None:
    with pytest.raises(InvalidDefinition):
        segment("s", {"trait": {"path": "t", "op": op, "value": value}})
