"""Leaves over events: counts in windows, first and last, numbers; each at its edges, with the next change."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.definitions.kinds import InvalidDefinition
from schemas.instants import NEVER
from tests.support.segments import customer_event, evaluate_leaf, segment

T = 1_000_000
WITHIN = {"event": "e", "within": "10s"}
OVER = 10_000


def verdict_and_next_change(where: Any, times: Sequence[int], now_ms: int) -> tuple[bool, int]:
    """Return whether the leaf holds at T + `now_ms` for events at T + `times`, and when that changes, counted from T."""
    said = evaluate_leaf(where, [customer_event("e", T + at, id=str(n)) for n, at in enumerate(times)], T + now_ms)
    return said.holds, said.next_change_ms if said.next_change_ms == NEVER else said.next_change_ms - T


@pytest.mark.parametrize(
    ("leaf", "now_ms", "holds", "next_ms"),
    [
        ({"did": WITHIN}, 0, True, OVER), ({"did": WITHIN}, OVER - 1, True, OVER), ({"did": WITHIN}, OVER, False, NEVER),
        ({"did_not": WITHIN}, 0, False, OVER), ({"did_not": WITHIN}, OVER - 1, False, OVER),
        ({"did_not": WITHIN}, OVER, True, NEVER),
        ({"first": WITHIN}, 0, True, OVER), ({"first": WITHIN}, OVER - 1, True, OVER), ({"first": WITHIN}, OVER, False, NEVER),
        ({"last": WITHIN}, OVER - 1, True, OVER), ({"last": WITHIN}, OVER, False, NEVER),
        ({"last": {"event": "e", "not_within": "10s"}}, OVER - 1, False, OVER),
        ({"last": {"event": "e", "not_within": "10s"}}, OVER, True, NEVER),
        ({"first": {"event": "e", "not_within": "10s", "within": "20s"}}, OVER - 1, False, OVER),
        ({"first": {"event": "e", "not_within": "10s", "within": "20s"}}, OVER, True, 2 * OVER),
        ({"first": {"event": "e", "not_within": "10s", "within": "20s"}}, 2 * OVER - 1, True, 2 * OVER),
        ({"first": {"event": "e", "not_within": "10s", "within": "20s"}}, 2 * OVER, False, NEVER),
        ({"did": {"event": "e"}}, 10 * OVER, True, NEVER), ({"did_not": {"event": "e"}}, 10 * OVER, False, NEVER),
    ],
)  # fmt: skip
def test_a_window_is_open_at_its_start_and_closed_at_its_end(leaf: Any, now_ms: int, holds: bool, next_ms: int) -> None:
    assert verdict_and_next_change(leaf, [0], now_ms) == (holds, next_ms)


@pytest.mark.parametrize(
    ("leaf", "holds"),
    [
        ({"did": {"event": "e"}}, False), ({"did": {"event": "e", "at_most": 0}}, True),
        ({"did": {"event": "e", "exactly": 0}}, True),
        ({"did": {"event": "e", "at_least": 1, "at_most": 3}}, False), ({"did_not": {"event": "e"}}, True),
        ({"did_not": WITHIN}, True), ({"first": {"event": "e"}}, False), ({"last": {"event": "e", "not_within": "1d"}}, False),
        ({"aggregate": {"event": "e", "of": "distinct", "prop": "x", "op": "eq", "value": 0}}, True),
    ],
)  # fmt: skip
def test_without_events(leaf: Any, holds: bool) -> None:
    assert verdict_and_next_change(leaf, [], 0) == (holds, NEVER)


@pytest.mark.parametrize(
    ("count", "now_ms", "holds", "next_ms"),
    [
        ({"at_least": 2}, 2_000, True, 11_000), ({"at_least": 2}, 10_999, True, 11_000), ({"at_least": 2}, 11_000, False, NEVER),
        ({"at_least": 3}, 2_000, True, 10_000), ({"at_least": 3}, 10_000, False, NEVER), ({"at_least": 4}, 2_000, False, NEVER),
        ({"at_most": 2}, 2_000, False, 10_000), ({"at_most": 2}, 10_000, True, NEVER), ({"at_most": 0}, 2_000, False, 12_000),
        ({"at_most": 3}, 2_000, True, NEVER), ({"exactly": 3}, 2_000, True, 10_000), ({"exactly": 2}, 2_000, False, 10_000),
        ({"exactly": 2}, 10_000, True, 11_000), ({"exactly": 2}, 11_000, False, NEVER), ({"exactly": 0}, 11_999, False, 12_000),
        ({"exactly": 0}, 12_000, True, NEVER), ({"at_least": 1, "at_most": 2}, 2_000, False, 10_000),
        ({"at_least": 1, "at_most": 2}, 10_000, True, 12_000), ({}, 2_000, True, 12_000),
    ],
)  # fmt: skip
def test_a_count_changes_when_the_event_leaves_that_decides(count: Any, now_ms: int, holds: bool, next_ms: int) -> None:
    assert verdict_and_next_change({"did": WITHIN | count}, [0, 1_000, 2_000], now_ms) == (holds, next_ms)


@given(
    times=st.lists(st.integers(0, 12), max_size=10),
    fewest=st.integers(0, 4),
    more=st.one_of(st.none(), st.integers(0, 3)),
    within=st.one_of(st.none(), st.integers(1, 9)),
    now=st.integers(12, 25),
)
def test_counts_by_brute_force(times: list[int], fewest: int, more: int | None, within: int | None, now: int) -> None:
    count = {"at_least": fewest} if fewest else {}
    count |= {} if more is None else {"at_most": fewest + more}
    most = 99 if more is None else fewest + more

    def in_truth(instant: int) -> bool:
        inside = len([at for at in times if at <= instant and (within is None or at > instant - within)])
        return (fewest or (1 if more is None else 0)) <= inside <= most

    leaf = {"did": {"event": "e", **count, **({} if within is None else {"within": f"{within}ms"})}}
    holds, next_ms = verdict_and_next_change(leaf, times, now)
    assert holds is in_truth(now)
    later = [instant for instant in range(now + 1, 60) if in_truth(instant) is not holds]
    assert next_ms == (later[0] if later else NEVER)


def test_a_duplicate_counts_once_and_two_messages_of_one_instant_twice() -> None:
    twice = [customer_event("e", T, id="1"), customer_event("e", T, id="2"), customer_event("e", T, id="1")]
    assert evaluate_leaf({"did": {"event": "e", "exactly": 2}}, twice, T).holds


def test_bot_events_do_not_count() -> None:
    assert not evaluate_leaf({"did": {"event": "e"}}, [customer_event("e", T, flags=("bot",))], T).holds


BOUGHT = [
    customer_event("e", T, {"city": "Huế"}),
    customer_event("e", T + 5, {"city": "Vinh"}),
    customer_event("e", T + 9, {"city": "Huế"}, id="x"),
]


@pytest.mark.parametrize(
    ("leaf", "holds"),
    [
        ({"first": {"having": [{"prop": "city", "value": "Huế"}]}}, True),
        ({"first": {"having": [{"prop": "city", "value": "Vinh"}]}}, False),
        ({"last": {"having": [{"prop": "city", "value": "Huế"}]}}, True),
        ({"last": {"having": [{"prop": "city", "value": "Vinh"}]}}, False),
        ({"last": {"where": [{"prop": "city", "value": "Vinh"}]}}, True),
        ({"last": {"where": [{"prop": "city", "value": "Vinh"}], "having": [{"prop": "city", "value": "Huế"}]}}, False),
        ({"first": {"where": [{"prop": "city", "value": "Vinh"}], "having": [{"prop": "x", "op": "exists"}]}}, False),
        ({"first": {"where": [{"prop": "city", "value": "Đà Nẵng"}]}}, False),
    ],
)  # fmt: skip
def test_having_asks_of_the_one_event_where_of_which_it_is(leaf: Any, holds: bool) -> None:
    word, spec = next(iter(leaf.items()))
    for events in (BOUGHT, BOUGHT[::-1], [BOUGHT[1], *BOUGHT]):
        assert evaluate_leaf({word: {"event": "e", **spec}}, events, T + 10).holds is holds


def test_a_late_event_becomes_the_first_and_a_last_one_that_does_not_fit_sleeps() -> None:
    having = [{"prop": "city", "value": "Vinh"}]
    early = customer_event("e", T - 5, {"city": "Vinh"})
    assert evaluate_leaf({"first": {"event": "e", "having": having}}, [*BOUGHT, early], T + 10).holds
    said = evaluate_leaf({"last": {"event": "e", "having": having, "within": "10s"}}, BOUGHT, T + 10)
    assert said.holds is False
    assert said.next_change_ms == NEVER


@pytest.mark.parametrize(
    ("values", "of", "op", "value", "holds"),
    [
        ([0.1, 0.2], "sum", "eq", 0.3, True), ([0.1] * 10, "sum", "eq", 1, True),
        ([1e12, 1e12], "sum", "eq", 2_000_000_000_000, True),
        ([1e12 + 1, 5], "sum", "eq", 5, True), ([-5, 3], "sum", "lt", 0, True), ([-5, 3], "min", "eq", -5, True),
        ([-5, 3], "max", "eq", 3, True), ([-5, 3], "avg", "eq", -1, True), ([1, 2], "avg", "eq", 1.5, True),
        ([0, 0, 1], "avg", "gt", 0.333333, True), ([0, 0, 1], "avg", "lt", 0.333334, True),
        ([0, 0, 1], "avg", "eq", 0.333333, False),
        ([576_460_752_305], "sum", "eq", 576_460_752_305, True), ([0.0000001], "sum", "eq", 0, True),
        (["5", "7"], "sum", "gte", 0, False), ([True], "sum", "gte", 0, False), ([None, [5], {"a": 5}], "sum", "gte", 0, False),
        (["5", 7], "sum", "eq", 7, True), (["5", 7], "avg", "eq", 7, True), ([], "sum", "lt", 1, False),
        ([], "avg", "ne", 1, False),
        ([], "min", "lte", 0, False), ([], "max", "gte", 0, False), ([0], "sum", "ne", 1, True), ([0], "sum", "eq", 0, True),
        ([1, 1.0, "1", True, None, [1], "Huế", "Hue\u0302\u0301", "", 0, -0.0], "distinct", "eq", 6, True),
        ([], "distinct", "lt", 1, True), (["a"] * 9, "distinct", "gt", 1, False), (list(range(600)), "distinct", "gt", 500, True),
        (list(range(600)), "distinct", "lte", 500, False),
    ],
)  # fmt: skip
def test_numbers_are_exact_and_only_numbers_count(values: list[Any], of: str, op: str, value: float, holds: bool) -> None:
    events = [customer_event("e", T, {"x": one}, id=str(n)) for n, one in enumerate(values)]
    for window in ({}, {"within": "1d", "keep": 3_000}):
        leaf = {"aggregate": {"event": "e", "of": of, "prop": "x", "op": op, "value": value, **window}}
        assert evaluate_leaf(leaf, events, T).holds is holds
        assert evaluate_leaf(leaf, events[::-1], T).holds is holds


@pytest.mark.parametrize(
    ("of", "value", "now_ms", "holds", "next_ms"),
    [
        ("sum", 6, 2_000, True, 10_000), ("sum", 6, 10_000, False, 11_000), ("sum", 5, 10_000, True, 11_000),
        ("sum", 5, 11_000, False, 12_000), ("sum", 1, 12_000, False, NEVER), ("max", 3, 11_999, True, 12_000),
        ("avg", 2, 2_000, True, 10_000), ("avg", 2.5, 10_000, True, 11_000), ("min", 1, 2_000, True, 10_000),
        ("min", 2, 2_000, False, 10_000), ("min", 2, 10_000, True, 11_000), ("distinct", 3, 2_000, True, 10_000),
        ("distinct", 3, 10_000, False, 11_000), ("distinct", 0, 12_000, True, NEVER),
    ],
)  # fmt: skip
def test_a_number_in_a_window_changes_as_events_leave(of: str, value: float, now_ms: int, holds: bool, next_ms: int) -> None:
    events = [customer_event("e", T + at, {"x": x}) for at, x in [(0, 1), (1_000, 2), (2_000, 3)]]
    said = evaluate_leaf({"aggregate": {"event": "e", "of": of, "prop": "x", "value": value, "within": "10s"}}, events, T + now_ms)
    assert said.holds == holds
    assert (said.next_change_ms - T if said.next_change_ms < NEVER else NEVER) == next_ms


def test_a_value_seen_again_stays_as_long_as_its_newest() -> None:
    events = [customer_event("e", T + at, {"x": x}) for at, x in [(0, "a"), (1_000, "b"), (5_000, "a")]]
    leaf = {"aggregate": {"event": "e", "of": "distinct", "prop": "x", "op": "eq", "value": 1, "within": "10s"}}
    said = [evaluate_leaf(leaf, order, T + 11_000) for order in (events, events[::-1])]
    assert [(one.holds, one.next_change_ms) for one in said] == [(True, T + 15_000)] * 2


@pytest.mark.parametrize(("keep", "approximate"), [(2, True), (3, False)])
def test_a_register_that_is_too_small_says_so(keep: int, approximate: bool) -> None:
    events = [customer_event("e", T + at, {"x": 1}) for at in range(3)]
    leaf = {"aggregate": {"event": "e", "of": "sum", "prop": "x", "op": "eq", "value": 3, "within": "10s", "keep": keep}}
    assert evaluate_leaf(leaf, events, T + 5).is_approximate is approximate
    whole = {"aggregate": {"event": "e", "of": "sum", "prop": "x", "op": "eq", "value": 3}}
    assert evaluate_leaf(whole, events, T + 5).is_approximate is False


@pytest.mark.parametrize(
    "where",
    [
        {"did": {"event": "e", "exactly": 1, "at_least": 1}}, {"did": {"event": "e", "at_least": 2, "at_most": 1}},
        {"did": {"event": "e", "at_least": 0}}, {"did": {"event": "e", "at_least": 1_001}}, {"did": {"event": ""}},
        {"last": {"event": "e", "within": "1d", "not_within": "1d"}}, {"did_not": {"event": "e", "at_least": 1}},
        {"aggregate": {"event": "e", "of": "sum", "prop": "x"}},
        {"aggregate": {"event": "e", "of": "sum", "prop": "x", "value": "5"}},
        {"aggregate": {"event": "e", "of": "distinct", "prop": "x", "value": 501}},
        {"aggregate": {"event": "e", "of": "sum", "prop": "x", "value": True}},
        {"aggregate": {"event": "e", "of": "median", "prop": "x", "value": 5}},
    ],
)  # fmt: skip
def test_contradicting_definition_is_refused(where: Any) -> None:
    with pytest.raises(InvalidDefinition):
        segment("s", where)
