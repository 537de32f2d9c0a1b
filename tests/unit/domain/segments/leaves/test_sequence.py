"""Sequences: one event, and another one after it, or not."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.definitions.kinds import InvalidDefinition
from schemas.events import Event
from schemas.instants import NEVER
from tests.support.segments import customer_event, evaluate_leaf, segment

T = 1_000_000_000
MINUTE = 60_000
HALF = 30 * MINUTE
ADDED, BOUGHT = "Product Added", "Order Completed"
CART = {"first": {"event": ADDED, "within": "1d"}, "then_not": {"event": BOUGHT, "within": "30m"}}
DAY = 24 * 60 * MINUTE


def events(*said: tuple[str, int]) -> list[Event]:
    return [customer_event(name, T + at, id=str(number)) for number, (name, at) in enumerate(said)]


def verdict_and_next_change(leaf: Any, history: Sequence[Event], at_ms: int) -> tuple[bool, int]:
    """Return whether the leaf holds at T + `at_ms`, and when that changes, counted from T."""
    said = evaluate_leaf({"sequence": leaf}, history, T + at_ms)
    assert evaluate_leaf({"sequence": leaf}, history[::-1], T + at_ms) == said
    return said.holds, said.next_change_ms if said.next_change_ms == NEVER else said.next_change_ms - T


@pytest.mark.parametrize(
    ("history", "now_ms", "holds", "next_ms"),
    [
        ([(ADDED, 0)], 0, False, HALF), ([(ADDED, 0)], HALF - 1, False, HALF), ([(ADDED, 0)], HALF, True, DAY),
        ([(ADDED, 0)], DAY - 1, True, DAY), ([(ADDED, 0)], DAY, False, NEVER),
        ([(ADDED, 0), (BOUGHT, 1)], 5, False, NEVER), ([(ADDED, 0), (BOUGHT, HALF)], HALF, False, NEVER),
        ([(ADDED, 0), (BOUGHT, HALF + 1)], HALF + 1, True, DAY), ([(BOUGHT, 0), (ADDED, 0)], HALF, True, DAY),
        ([(BOUGHT, -1), (ADDED, 0)], HALF, True, DAY), ([(ADDED, 0), (ADDED, 5)], HALF, False, HALF + 5),
        ([(ADDED, 0), (ADDED, 5)], HALF + 5, True, DAY + 5), ([(ADDED, 0), (BOUGHT, 3), (ADDED, 5)], HALF + 5, True, DAY + 5),
        ([(BOUGHT, 0)], HALF, False, NEVER), ([], 0, False, NEVER),
    ],
)  # fmt: skip
def test_an_abandoned_cart_is_entered_at_exactly_half_an_hour(
    history: list[tuple[str, int]], now_ms: int, holds: bool, next_ms: int
) -> None:
    assert verdict_and_next_change(CART, events(*history), now_ms) == (holds, next_ms)


def test_late_event_changes_an_earlier_verdict() -> None:
    before = events((ADDED, 0))
    assert verdict_and_next_change(CART, before, HALF) == (True, DAY)
    assert verdict_and_next_change(CART, [*before, customer_event(BOUGHT, T + 5)], HALF)[0] is False
    assert verdict_and_next_change(CART, [*before, customer_event(ADDED, T + 60)], HALF) == (False, HALF + 60)
    bought = events((BOUGHT, 5))
    then = {"first": {"event": ADDED}, "then": {"event": BOUGHT, "within": "30m"}}
    assert verdict_and_next_change(then, bought, HALF) == (False, NEVER)
    assert verdict_and_next_change(then, [*bought, customer_event(ADDED, T)], HALF) == (True, NEVER)


THEN = {"first": {"event": "a"}, "then": {"event": "b"}}
THEN_NOT = {"first": {"event": "a"}, "then_not": {"event": "b"}}


@pytest.mark.parametrize(
    ("leaf", "history", "holds"),
    [
        (THEN, [("a", 0), ("b", 1)], True), (THEN, [("a", 0), ("b", 0)], False), (THEN, [("b", 0), ("a", 1)], False),
        (THEN, [("a", 0)], False), (THEN, [("b", 0)], False), (THEN, [("a", 0), ("b", 1), ("a", 2)], False),
        (THEN_NOT, [("a", 0), ("b", 1)], False), (THEN_NOT, [("a", 0), ("b", 0)], True), (THEN_NOT, [("b", 0), ("a", 1)], True),
        (THEN_NOT, [("a", 0)], True), (THEN_NOT, [("b", 0)], False), (THEN_NOT, [("a", 0), ("b", 1), ("a", 2)], True),
    ],
)  # fmt: skip
def test_without_an_end_the_second_event_may_come_whenever(leaf: Any, history: list[tuple[str, int]], holds: bool) -> None:
    assert verdict_and_next_change(leaf, events(*history), 10 * DAY) == (holds, NEVER)


@pytest.mark.parametrize(
    ("history", "first", "last", "any_"),
    [
        ([("a", 0), ("b", 5)], True, True, True),
        ([("a", 0), ("b", 5), ("a", 50)], True, False, True),
        ([("a", 0), ("a", 50), ("b", 55)], False, True, True),
        ([("a", 0), ("a", 50), ("b", 55), ("a", 90)], False, False, True),
        ([("a", 0), ("b", 10)], True, True, True),
        ([("a", 0), ("b", 11)], False, False, False),
        ([("a", 50), ("b", 40)], False, False, False),
    ],
)
def test_pick_says_which_first_event_counts(history: list[tuple[str, int]], first: bool, last: bool, any_: bool) -> None:
    for pick, holds in (("first", first), ("last", last), ("any", any_)):
        then = {"first": {"event": "a", "pick": pick}, "then": {"event": "b", "within": "10ms"}}
        assert verdict_and_next_change(then, events(*history), 100)[0] is holds


def test_when_the_first_leaves_the_window_the_next_one_is_the_first() -> None:
    leaf = {"first": {"event": "a", "pick": "first", "within": "100ms"}, "then": {"event": "b", "within": "10ms"}}
    history = events(("a", 0), ("b", 5), ("a", 20), ("a", 60), ("b", 65))
    assert [verdict_and_next_change(leaf, history, at) for at in (70, 99, 100, 119, 120, 159, 160)] == [
        (True, 100), (True, 100), (False, 120), (False, 120), (True, 160), (True, 160), (False, NEVER)
    ]  # fmt: skip


def shopping(*said: tuple[str, int, Any]) -> list[Event]:
    return [customer_event(name, T + at, {"sku": sku, "shop": 1}, id=str(n)) for n, (name, at, sku) in enumerate(said)]


SAME = {"first": {"event": "a"}, "then_not": {"event": "b", "within": "10ms", "same": ["sku", "shop"]}}


@pytest.mark.parametrize(
    ("history", "holds"),
    [
        ([("a", 0, "x"), ("b", 5, "x")], False), ([("a", 0, "x"), ("b", 5, "y")], True), ([("a", 0, "1"), ("b", 5, 1)], True),
        ([("a", 0, 1), ("b", 5, 1.0)], False), ([("a", 0, "Huế"), ("b", 5, "Hue\u0302\u0301")], False),
        ([("a", 0, True), ("b", 5, "true")], True), ([("a", 0, None)], False), ([("a", 0, ["x"])], False),
        ([("a", 0, "x"), ("b", 5, None)], True), ([("a", 0, "x"), ("a", 1, "y"), ("b", 5, "y")], True),
        ([("a", 0, "x"), ("a", 1, "y"), ("b", 5, "y"), ("b", 6, "x")], False),
        ([("a", 0, "x"), ("a", 7, "x"), ("b", 5, "x")], True), ([("a", 0, "x"), ("a", 7, "x"), ("b", 15, "x")], False),
    ],
)  # fmt: skip
def test_same_asks_for_equal_properties_and_picks_by_them(history: list[tuple[str, int, Any]], holds: bool) -> None:
    assert verdict_and_next_change(SAME, shopping(*history), 30)[0] is holds


def test_conditions_say_which_events_are_meant() -> None:
    asks = [{"prop": "sku", "op": "starts_with", "value": "x"}]
    leaf = {"first": {"event": "a", "where": asks}, "then": {"event": "b", "where": asks}}
    assert verdict_and_next_change(leaf, shopping(("a", 0, "x1"), ("b", 5, "x2")), 9)[0]
    assert not verdict_and_next_change(leaf, shopping(("a", 0, "y1"), ("b", 5, "x2")), 9)[0]
    assert not verdict_and_next_change(leaf, shopping(("a", 0, "x1"), ("b", 5, "y2")), 9)[0]


def test_one_event_twice_is_a_sequence_of_it() -> None:
    leaf = {"first": {"event": "a", "pick": "any"}, "then": {"event": "a", "within": "10ms"}}
    assert verdict_and_next_change(leaf, events(("a", 0), ("a", 10)), 20)[0]
    assert not verdict_and_next_change(leaf, events(("a", 0), ("a", 11)), 20)[0]
    assert not verdict_and_next_change(leaf, events(("a", 0)), 20)[0]


@st.composite
def leaves(draw: st.DrawFn) -> Any:
    window = draw(st.one_of(st.just({}), st.integers(1, 15).map(lambda n: {"within": f"{n}ms"})))
    after = draw(st.one_of(st.just({}), st.integers(1, 12).map(lambda n: {"within": f"{n}ms"})))
    same = draw(st.sampled_from([{}, {"same": ["sku"]}]))
    second = draw(st.sampled_from(["a", "b"]))
    pick = draw(st.sampled_from(["first", "last", "any"]))
    return {
        "first": {"event": "a", "pick": pick} | window,
        draw(st.sampled_from(["then", "then_not"])): {"event": second} | after | same,
    }


def brute_force_verdict(leaf: Any, history: list[tuple[str, int, Any]], now: int) -> bool:
    """Evaluate the leaf by its definition, word for word."""

    def length(said: Any) -> int:
        return int(said["within"].removesuffix("ms")) if "within" in said else 10**6

    second, negative = leaf.get("then") or leaf.get("then_not"), "then_not" in leaf
    keyed = "same" in second
    past = [(name, at, sku if keyed else "") for name, at, sku in history if at <= now and not (keyed and sku is None)]
    inside = [(at, sku) for name, at, sku in past if name == "a" and at > now - length(leaf["first"])]
    picked = []
    for key in {sku for _, sku in inside}:
        times = [at for at, sku in inside if sku == key]
        chosen = {"first": [min(times)], "last": [max(times)], "any": times}[leaf["first"]["pick"]]
        picked += [(at, key) for at in chosen]
    for at, key in picked:
        followed = any(name == second["event"] and at < then <= at + length(second) and sku == key for name, then, sku in past)
        waited = "within" not in second or now >= at + length(second)
        if (not followed and waited) if negative else followed:
            return True
    return False


@given(
    leaf=leaves(),
    history=st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 20), st.sampled_from(["x", "y", None])), max_size=8),
    now=st.integers(20, 30),
)
def test_sequences_by_brute_force(leaf: Any, history: list[tuple[str, int, Any]], now: int) -> None:
    holds, next_ms = verdict_and_next_change(leaf, shopping(*history), now)
    assert holds is brute_force_verdict(leaf, history, now)
    for instant in range(now, min(next_ms, 60)):
        assert brute_force_verdict(leaf, history, instant) is holds


@pytest.mark.parametrize(
    "leaf",
    [
        {"first": {"event": "a"}}, {"first": {"event": "a"}, "then": {"event": "b"}, "then_not": {"event": "c"}},
        {"then": {"event": "b"}}, {"first": {"event": "a", "pick": "second"}, "then": {"event": "b"}},
        {"first": {"event": "a"}, "then": {"event": "b", "same": ["x"] * 6}},
    ],
)  # fmt: skip
def test_contradicting_definition_is_refused(leaf: Any) -> None:
    with pytest.raises(InvalidDefinition):
        segment("s", {"sequence": leaf})


@pytest.mark.parametrize(("keep", "approximate"), [(3, True), (4, False)])
def test_too_many_events_make_the_answer_an_approximation(keep: int, approximate: bool) -> None:
    history = events(("a", 0), *(("b", at) for at in range(1, 5)))
    leaf = {"first": {"event": "a"}, "then": {"event": "b", "within": "10ms"}, "keep": keep}
    assert evaluate_leaf({"sequence": leaf}, history, T + 5).is_approximate is approximate
