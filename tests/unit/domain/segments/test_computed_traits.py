"""Computed traits and the leaves over them: stages, scores, values; and what customers said of consent."""

import random
from collections.abc import Sequence
from typing import Any

import pytest

from domain.definitions.kinds import InvalidDefinition
from domain.definitions.segment_plan import segment_plan_of
from domain.segments.computed_traits import DEFAULT_COMPUTED_TRAITS
from domain.segments.plan import SegmentPlan
from domain.segments.profile_facts import LeafResult
from schemas.events import Event
from schemas.instants import DAY_MS, NEVER
from tests.support.segments import computed, customer_event, evaluate_leaf, facts, segment

T = 20_000 * DAY_MS
ORDER = "Order Completed"


def worked_out(spec: Any, events: Sequence[Event], now_ms: int, **more: Any) -> LeafResult:
    """Return the result of a computed trait, after checking that it does not depend on the order of its events."""
    plan = segment_plan_of([computed("n", spec)])
    found = [
        plan.evaluate_computed(facts(plan, order, **more), now_ms)["n"] for order in (events, events[::-1], [*events, *events])
    ]
    assert found[0] == found[1] == found[2]
    return found[0]


def orders(*days: int, **properties: Any) -> list[Event]:
    return [customer_event(ORDER, T + day * DAY_MS, properties, id=str(number)) for number, day in enumerate(days)]


STAGES = {"lifecycle": {"at_risk_after": "90d", "lost_after": "180d", "loyal_orders": 4}}


@pytest.mark.parametrize(
    ("days", "now_day", "stage", "next_day"),
    [
        ([0], 0, "first_time", 90), ([0], 89, "first_time", 90), ([0], 90, "at_risk", 180), ([0], 179, "at_risk", 180),
        ([0], 180, "lost", None), ([0], 9_999, "lost", None), ([0, 1], 1, "active", 91), ([0, 1, 2], 2, "active", 92),
        ([0, 1, 2, 3], 3, "loyal", 93), ([0, 1, 2, 3, 4, 5], 94, "loyal", 95), ([0, 1, 2, 3], 93, "at_risk", 183),
        ([0, 179], 179, "active", 269), ([0, 180], 180, "won_back", 270), ([0, 180], 270, "at_risk", 360),
        ([0, 180], 360, "lost", None), ([0, 180, 181], 181, "active", 271), ([0, 1, 2, 3, 400], 400, "won_back", 490),
        ([0, 1, 2, 400, 401], 401, "loyal", 491),
    ],
)  # fmt: skip
def test_a_stage_turns_at_its_instants(days: list[int], now_day: int, stage: str, next_day: int | None) -> None:
    now_ms = T + now_day * DAY_MS
    said = worked_out(STAGES, orders(*days), now_ms)
    assert said.value == stage
    assert said.next_change_ms == (NEVER if next_day is None else T + next_day * DAY_MS)
    if next_day is not None:
        assert worked_out(STAGES, orders(*days), said.next_change_ms - 1).value == stage
        assert worked_out(STAGES, orders(*days), said.next_change_ms).value != stage


@pytest.mark.parametrize(
    ("named", "stage"),
    [
        ((), "visitor"), (("anonymous_id", "device_id", "caller"), "visitor"), (("anonymous_id", "email"), "lead"),
        (("phone",), "lead"), (("user_id",), "lead"), (("crm_id",), "lead"),
    ],
)  # fmt: skip
def test_without_orders_a_known_visitor_is_a_lead(named: Sequence[str], stage: str) -> None:
    said = worked_out(STAGES, [customer_event("Viewed", T)], T, namespaces=named)
    assert said.value == stage
    assert said.next_change_ms == NEVER


def test_the_leaf_asks_for_stages_of_a_computed_trait() -> None:
    shipped = [customer_event(ORDER, T)]
    assert evaluate_leaf({"lifecycle": {"stage": ["loyal", "first_time"]}}, shipped, T).holds
    assert not evaluate_leaf({"lifecycle": {"stage": ["lost"]}}, shipped, T).holds
    assert evaluate_leaf({"lifecycle": {"stage": ["lost"]}}, shipped, T + 180 * DAY_MS).holds
    assert evaluate_leaf({"lifecycle": {"stage": ["lost"], "of": "mine"}}, [], T, computed={"mine": "lost"}).holds
    assert not evaluate_leaf({"lifecycle": {"stage": ["lost"], "of": "gone"}}, [], T, computed={"lifecycle": "lost"}).holds


RFM = {
    "rfm": {
        "within": "100d", "recency": ["10d", "20d", "30d", "40d"], "frequency": [2, 3, 5, 10], "monetary": [0.3, 1, 10, 100],
    }
}  # fmt: skip


@pytest.mark.parametrize(
    ("age_days", "recency", "next_days"),
    [(0, 5, 10), (9, 5, 10), (10, 4, 20), (20, 3, 30), (39, 2, 40), (40, 1, 100), (99, 1, 100), (100, None, None)],
)
def test_recency_falls_as_the_last_order_grows_old(age_days: int, recency: int | None, next_days: int | None) -> None:
    said = worked_out(RFM, orders(0), T + age_days * DAY_MS)
    assert (said.value["recency"] if said.value else None) == recency
    assert said.next_change_ms == (NEVER if next_days is None else T + next_days * DAY_MS)


@pytest.mark.parametrize(
    ("totals", "frequency", "monetary"),
    [
        ([0.1], 1, 1), ([0.1, 0.2], 2, 2), ([0.1, 0.199999], 2, 1), ([1], 1, 3), ([5, 5], 2, 4), ([100], 1, 5), ([1] * 5, 4, 3),
        ([10] * 10, 5, 5), (["1000", None, True], 3, 1), ([-5, 5.3], 2, 2),
    ],
)  # fmt: skip
def test_frequency_and_monetary_rise_at_their_edges(totals: list[Any], frequency: int, monetary: int) -> None:
    events = [customer_event(ORDER, T, {"total": total}, id=str(n)) for n, total in enumerate(totals)]
    scores = {"recency": 5, "frequency": frequency, "monetary": monetary, "score": f"5{frequency}{monetary}"}
    assert worked_out(RFM, events, T).value == scores


def test_an_order_that_leaves_the_window_takes_its_share_along() -> None:
    said = worked_out(RFM, orders(0, 70, total=0.2), T + 99 * DAY_MS)
    assert said.value["score"] == "322"
    assert said.next_change_ms == T + 100 * DAY_MS
    assert worked_out(RFM, orders(0, 70, total=0.2), said.next_change_ms).value["score"] == "211"


@pytest.mark.parametrize(
    ("asked", "holds"),
    [
        ({"recency": [5]}, True), ({"recency": [4, 5], "monetary": [1]}, True), ({"frequency": [5]}, False),
        ({"recency": [5], "frequency": [2]}, False), ({"recency": [5], "of": "gone"}, False),
    ],
)  # fmt: skip
def test_the_leaf_asks_for_scores(asked: Any, holds: bool) -> None:
    assert evaluate_leaf({"rfm": asked}, orders(0), T).holds is holds
    assert not evaluate_leaf({"rfm": asked}, [], T).holds


SHOP = [
    customer_event("e", T + at, {"x": x, "city": city}, id=str(at))
    for at, x, city in [(0, 5, "Huế"), (10, "5", "Vinh"), (20, True, "Huế"), (30, 5.0, None), (40, None, "Vinh"), (50, [5], "Huế")]
]


@pytest.mark.parametrize(
    ("spec", "value"),
    [
        ({"count": {"event": "e"}}, 6), ({"count": {"event": "other"}}, 0), ({"sum": {"event": "e", "prop": "x"}}, 10),
        ({"count": {"event": "e", "where": [{"prop": "city", "value": "Huế"}]}}, 3), ({"avg": {"event": "e", "prop": "x"}}, 5.0),
        ({"min": {"event": "e", "prop": "x"}}, 5), ({"max": {"event": "e", "prop": "city"}}, None),
        ({"first": {"event": "e", "prop": "x"}}, 5), ({"last": {"event": "e", "prop": "x"}}, 5),
        ({"last": {"event": "e", "prop": "y"}}, None),
        ({"last": {"event": "e", "prop": "x", "where": [{"prop": "city", "value": "Huế"}]}}, True),
        ({"first": {"event": "e", "prop": "city"}}, "Huế"), ({"last": {"event": "e", "prop": "city"}}, "Huế"),
        ({"unique": {"event": "e", "prop": "x"}}, [5, True, "5"]),
        ({"unique": {"event": "e", "prop": "y"}}, None), ({"most_frequent": {"event": "e", "prop": "city"}}, "Huế"),
        ({"most_frequent": {"event": "e", "prop": "x"}}, 5), ({"most_frequent": {"event": "e", "prop": "y"}}, None),
    ],
)  # fmt: skip
def test_a_value_over_all_time(spec: Any, value: Any) -> None:
    said = worked_out(spec, SHOP, T + 60)
    assert repr(said.value) == repr(value)
    assert said.next_change_ms == NEVER
    assert said.is_approximate is False


@pytest.mark.parametrize(
    ("spec", "now_ms", "value", "next_ms"),
    [
        ({"count": {"event": "e"}}, 59, 6, 100), ({"count": {"event": "e"}}, 100, 5, 110),
        ({"count": {"event": "e"}}, 150, 0, None),
        ({"sum": {"event": "e", "prop": "x"}}, 100, 5, 130), ({"sum": {"event": "e", "prop": "x"}}, 130, None, None),
        ({"unique": {"event": "e", "prop": "x"}}, 110, [5, True], 120), ({"unique": {"event": "e", "prop": "x"}}, 130, None, None),
        ({"most_frequent": {"event": "e", "prop": "city"}}, 60, "Huế", 100),
        ({"most_frequent": {"event": "e", "prop": "city"}}, 120, "Huế", 140),
        ({"most_frequent": {"event": "e", "prop": "city"}}, 100, "Huế", 110),
    ],
)  # fmt: skip
def test_a_value_in_a_window(spec: Any, now_ms: int, value: Any, next_ms: int | None) -> None:
    kind, inner = next(iter(spec.items()))
    said = worked_out({kind: inner | {"within": "100ms"}}, SHOP, T + now_ms)
    assert repr(said.value) == repr(value)
    assert said.next_change_ms == (NEVER if next_ms is None else T + next_ms)


def test_of_too_many_different_values_the_latest_are_named() -> None:
    said = worked_out({"unique": {"event": "e", "prop": "x", "keep": 2}}, SHOP, T + 60)
    assert repr(said.value) == "[5, True]"
    assert said.is_approximate is True


@pytest.mark.parametrize(
    ("values", "favourite"),
    [
        (["b", "a", "b", "a", "z", 9], "a"), ([10, 9], 9), ([100, 20, 3], 3), ([1, -2], -2), ([0.5, 0.25], 0.25),
        ([1e22, 3e21], 3e21), ([10, "1"], 10), ([0, True], True), ([True, False], False), (["Huế", "Hà Nội"], "Huế"),
    ],
)  # fmt: skip
def test_of_values_that_came_as_often_the_one_that_sorts_first_is_the_most_frequent(values: list[Any], favourite: Any) -> None:
    for window in ({}, {"within": "1d"}):
        spec = {"most_frequent": {"event": "e", "prop": "x", **window}}
        for order in (values, values[::-1]):
            events = [customer_event("e", T, {"x": x}, id=str(n)) for n, x in enumerate(order)]
            assert repr(worked_out(spec, events, T).value) == repr(favourite)


def test_the_most_frequent_of_many_values_is_right_although_not_each_is_counted() -> None:
    for household in range(10):
        rng = random.Random(household)
        values = [rng.choice((f"favourite-{household}", *([f"v{rng.randrange(400)}"] * 12))) for _ in range(800)]
        events = [customer_event("e", T + n, {"x": x}, id=f"{household}-{n}") for n, x in enumerate(values)]
        found = worked_out({"most_frequent": {"event": "e", "prop": "x"}}, events, T + 900)
        assert found.is_approximate
        assert found.value == f"favourite-{household}"


@pytest.mark.parametrize(
    ("which", "now_ms", "days", "next_ms"),
    [("last", 0, 0, 1), ("last", DAY_MS - 1, 0, 1), ("last", DAY_MS, 1, 2), ("first", 0, 2, 1), ("first", DAY_MS, 3, 2)],
)
def test_days_since_turn_by_themselves(which: str, now_ms: int, days: int, next_ms: int) -> None:
    said = worked_out({"days_since": {"event": ORDER, "which": which}}, orders(-2, 0), T + now_ms)
    assert said.value == days
    assert said.next_change_ms == T + next_ms * DAY_MS
    assert worked_out({"days_since": {"event": ORDER}}, [], T).value is None


@pytest.mark.parametrize(("keep", "approximate"), [(3, True), (6, False)])
def test_a_register_that_is_too_small_says_so(keep: int, approximate: bool) -> None:
    for kind, prop in [("count", {}), ("sum", {"prop": "n"}), ("most_frequent", {"prop": "n"})]:
        events = [customer_event("e", T + n, {"n": n}) for n in range(6)]
        assert worked_out({kind: {"event": "e", "within": "1d", "keep": keep, **prop}}, events, T + 9).is_approximate is approximate


def consent(at_ms: int, given: Any, number: str) -> Event:
    context = {"consent": {"categoryPreferences": {"quảng cáo": given}}}
    return customer_event("Segment Consent Preference Updated", T + at_ms, id=number, context=context)


def subscription(at_ms: int, status: Any, number: str, kind: Any = "email") -> Event:
    return customer_event(
        "$identify", T + at_ms, id=number, context={"messaging_subscriptions": [{"type": kind, "status": status}]}
    )


def consented(events: Sequence[Event]) -> str:
    leaf = {"consent": {"purpose": "quảng cáo"}}
    said = [evaluate_leaf(leaf, order, T + 100) for order in (events, events[::-1])]
    assert said[0] == said[1]
    assert said[0].holds is (said[0].value == "granted")
    for status in ("granted", "denied", "unknown"):
        assert evaluate_leaf({"consent": {"purpose": "quảng cáo", "status": status}}, events, T + 100).holds is (
            status == said[0].value
        )
    return str(said[0].value)


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ([], "unknown"), ([(0, True)], "granted"), ([(0, False)], "denied"), ([(0, True), (5, False)], "denied"),
        ([(0, False), (5, True)], "granted"), ([(5, True), (5, False)], "denied"), ([(5, False), (5, True)], "denied"),
        ([(5, True), (5, True)], "granted"), ([(0, True), (5, "no")], "granted"), ([(0, True), (5, None)], "granted"),
        ([(0, 1)], "unknown"), ([(0, "true")], "unknown"),
    ],
)  # fmt: skip
def test_the_last_word_on_consent_holds_and_of_one_instant_the_one_that_takes_back(said: list[Any], status: str) -> None:
    assert consented([consent(at, given, str(n)) for n, (at, given) in enumerate(said)]) == status


def test_another_purpose_and_another_call_say_nothing_of_consent() -> None:
    context = {"consent": {"categoryPreferences": {"quảng cáo": True}}}
    assert consented([customer_event("Viewed", T, context=context)]) == "unknown"
    other = [consent(0, given=True, number="1")]
    assert evaluate_leaf({"consent": {"purpose": "ads", "status": "unknown"}}, other, T).holds


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ([], "unknown"), ([(0, "SUBSCRIBED")], "subscribed"), ([(0, "UNSUBSCRIBED")], "unsubscribed"),
        ([(0, "DID_NOT_SUBSCRIBE")], "unsubscribed"), ([(0, "SUBSCRIBED"), (5, "UNSUBSCRIBED")], "unsubscribed"),
        ([(0, "UNSUBSCRIBED"), (5, "SUBSCRIBED")], "subscribed"), ([(5, "UNSUBSCRIBED"), (5, "SUBSCRIBED")], "unsubscribed"),
        ([(5, "SUBSCRIBED"), (5, "UNSUBSCRIBED")], "unsubscribed"), ([(0, "SUBSCRIBED"), (5, "PENDING")], "subscribed"),
        ([(0, "subscribed")], "unknown"), ([(0, None)], "unknown"),
    ],
)  # fmt: skip
def test_the_last_word_on_a_channel_holds(said: list[Any], status: str) -> None:
    events = [subscription(at, one, str(n), kind) for kind in ("email", "EMAIL") for n, (at, one) in enumerate(said)]
    for order in (events, events[::-1]):
        for asked in ("subscribed", "unsubscribed", "unknown"):
            leaf = {"subscribed": {"channel": "Email", "status": asked}}
            assert evaluate_leaf(leaf, order, T + 100).holds is (asked == status)
    assert evaluate_leaf({"subscribed": {"channel": "sms", "status": "unknown"}}, events, T + 100).holds


@pytest.mark.parametrize("said", [None, "SUBSCRIBED", {}, [None], ["SUBSCRIBED"], [{}], [{"type": 5, "status": "SUBSCRIBED"}]])
def test_a_list_of_another_shape_says_nothing(said: Any) -> None:
    events = [customer_event("$identify", T, context={"messaging_subscriptions": said, "consent": said})]
    assert evaluate_leaf({"subscribed": {"channel": "email", "status": "unknown"}}, events, T).holds


def test_within_one_call_the_status_that_takes_back_wins() -> None:
    both = [{"type": "email", "status": status} for status in ("UNSUBSCRIBED", "SUBSCRIBED")]
    for said in (both, both[::-1]):
        events = [customer_event("$identify", T, context={"messaging_subscriptions": said})]
        assert evaluate_leaf({"subscribed": {"channel": "email", "status": "unsubscribed"}}, events, T).holds


@pytest.mark.parametrize(
    "spec",
    [
        {}, {"count": {"event": "e"}, "sum": {"event": "e", "prop": "x"}}, {"median": {"event": "e", "prop": "x"}},
        {"lifecycle": {"at_risk_after": "90d", "lost_after": "90d"}}, {"rfm": RFM["rfm"] | {"frequency": [2, 2, 3, 4]}},
        {"rfm": RFM["rfm"] | {"recency": ["20d", "10d", "30d", "40d"]}}, {"sum": {"event": "e"}},
    ],
)  # fmt: skip
def test_contradicting_definition_is_refused(spec: Any) -> None:
    with pytest.raises(InvalidDefinition):
        computed("n", spec)
    with pytest.raises(InvalidDefinition):
        segment("s", {"rfm": {}})


def test_stages_and_scores_are_shipped_and_may_be_replaced() -> None:
    assert set(SegmentPlan().computed) == set(DEFAULT_COMPUTED_TRAITS) == {"lifecycle", "rfm"}
    mine = segment_plan_of([computed("lifecycle", {"lifecycle": {"at_risk_after": "1d", "lost_after": "2d"}})])
    assert mine.evaluate_computed(facts(mine, orders(0)), T + DAY_MS)["lifecycle"].value == "at_risk"
    shipped = SegmentPlan()
    assert shipped.evaluate_computed(facts(shipped, orders(0)), T + DAY_MS)["lifecycle"].value == "first_time"
