"""Why in a segment, and why not: what the tree says of each kind of leaf, and when it turns by itself."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.hashes import message_hash
from domain.segments.comparisons import NEVER
from domain.definitions.kinds import AnyDefinition
from domain.segments.explain import Explained, Explainer
from domain.segments.profile_facts import Group
from domain.segments.plan import Plan
from tests.support.events import START_MS, event
from tests.support.segments import computed, facts, listed, segment

MINUTE, DAY = 60_000, 86_400_000
NOW = START_MS + 10 * DAY
USER = {"user_id": "u1"}


def leaf(
    where: Mapping[str, Any], *happened: Any, others: Sequence[AnyDefinition] = (), now_ms: int = NOW, **more: Any
) -> Explained:
    """What a segment of one node comes to; it must be what the segment itself says."""
    plan = Plan([segment("asked", where), *others])
    held = facts(plan, happened, **more)
    explained = Explainer(plan).explain("asked", held, now_ms)
    assert (explained.segment, explained.version) == ("asked", plan.versions["asked"])
    values = {name: one.value for name, one in plan.compute(held, now_ms).items() if one.value is not None}
    assert explained.tree.holds is plan.evaluate(replace(held, computed=values), now_ms)["asked"].member
    return explained.tree


def ordered(number: int, ago_ms: int, **properties: Any) -> Any:
    return event(USER, id=f"m{number}", name="Đặt hàng", time_ms=NOW - ago_ms, properties=properties)


def ties(explained: Explained) -> list[str]:
    return [entry[1] for behind in explained.behind for entry in behind.entries or ()]


def hash_of(number: int) -> str:
    return message_hash(event(USER, id="-").owner, f"m{number}")


def test_a_count_shows_how_often_by_which_events_and_when_it_sinks() -> None:
    asked = {"did": {"event": "Đặt hàng", "at_least": 2, "within": "1h", "where": [{"prop": "total", "op": "gte", "value": 5}]}}
    found = leaf(asked, ordered(1, 31 * MINUTE, total=9), ordered(2, 5 * MINUTE, total=5), ordered(3, MINUTE, total=4))
    assert (found.holds, found.value, found.or_more, found.wanted) == (True, 2, True, "at least 2 times")
    assert found.text == "Đặt hàng (total ≥ 5) in the last 1h: at least 2 times"
    assert ties(found) == [hash_of(2), hash_of(1)]
    assert found.turns_ms == found.next_ms == NOW + 29 * MINUTE
    missing = leaf(asked, ordered(2, 5 * MINUTE, total=5))
    assert (missing.holds, missing.value, missing.or_more, missing.turns_ms) == (False, 1, False, NEVER)


def test_what_did_not_happen_turns_when_the_last_time_leaves_the_window() -> None:
    asked = {"did_not": {"event": "Đặt hàng", "within": "1h"}}
    found = leaf(asked, ordered(1, 10 * MINUTE))
    assert (found.holds, found.value, found.turns_ms, ties(found)) == (False, 1, NOW + 50 * MINUTE, [hash_of(1)])
    assert leaf(asked).holds is True


def test_a_trait_shows_what_it_is_and_whose_event_set_it() -> None:
    said = event(USER, id="m1", type="identify", traits={"address": {"city": "Huế"}, "birthday": "2025-06-30"}, time_ms=START_MS)
    asked = {"trait": {"path": "address.city", "op": "in", "value": ["Hà Nội", "Đà Nẵng"]}}
    found = leaf(asked, said)
    assert (found.holds, found.value, found.wanted) == (False, "Huế", "in Hà Nội, Đà Nẵng")
    assert [behind.trait for behind in found.behind] == ["address.city"]
    assert leaf(asked).value is None
    dated = leaf({"trait": {"path": "birthday", "op": "within_next", "value": "30d"}}, said)
    assert (dated.holds, dated.value) == (True, "2025-06-30")
    assert dated.turns_ms < NEVER


def test_the_first_or_last_time_shows_when_it_was_and_whether_it_was_as_asked() -> None:
    asked = {"last": {"event": "Đặt hàng", "having": [{"prop": "total", "op": "gte", "value": 5}], "within": "1h"}}
    found = leaf(asked, ordered(1, 20 * MINUTE, total=9), ordered(2, 10 * MINUTE, total=1))
    assert (found.holds, found.value) == (False, {"at_ms": NOW - 10 * MINUTE, "as_asked": False})
    assert leaf({"first": {"event": "Đặt hàng", "within": "1h"}}, ordered(1, MINUTE)).value == {"at_ms": NOW - MINUTE}
    assert leaf(asked).value is None


@pytest.mark.parametrize(
    ("of", "value", "found", "holds"),
    [("sum", 10, 14, True), ("avg", 8, 7, False), ("min", 6, 5, False), ("max", 9, 9, True), ("distinct", 2, 2, True)],
)
@pytest.mark.parametrize("within", ["1h", None])
def test_an_aggregate_shows_its_number(of: str, value: int, found: int, holds: bool, within: str | None) -> None:
    asked = {"of": of, "event": "Đặt hàng", "prop": "total", "value": value, **({"within": within} if within else {})}
    got = leaf({"aggregate": asked}, ordered(1, 20 * MINUTE, total=9), ordered(2, 10 * MINUTE, total=5))
    assert (got.value, got.holds, got.approximate) == (found, holds, False)
    assert sum(behind.count for behind in got.behind) in (1, 2)


def test_a_register_that_is_too_small_makes_an_answer_approximate() -> None:
    asked = {"aggregate": {"of": "sum", "event": "Đặt hàng", "prop": "total", "value": 3, "within": "1h", "keep": 1}}
    happened = [ordered(1, 20 * MINUTE, total=9), ordered(2, 10 * MINUTE, total=5)]
    assert leaf(asked, *happened).approximate
    plan = Plan([segment("asked", {"not": asked})])
    assert Explainer(plan).explain("asked", facts(plan, happened), NOW).approximate


def test_a_sequence_shows_the_first_event_and_what_followed_it() -> None:
    cart = event(USER, id="m1", name="Giỏ hàng", time_ms=NOW - 20 * MINUTE, properties={"cart": "g1"})
    first = {"event": "Giỏ hàng", "within": "7d"}
    then = {"event": "Đặt hàng", "within": "1h", "same": ["cart"]}
    bought = leaf({"sequence": {"first": first, "then": then}}, cart, ordered(2, MINUTE, cart="g1"), ordered(3, MINUTE, cart="g2"))
    assert bought.holds
    assert ([behind.register.event for behind in bought.behind if behind.register], [b.count for b in bought.behind]) == (
        ["Giỏ hàng", "Đặt hàng"],
        [1, 1],
    )
    left = leaf({"sequence": {"first": first, "then_not": then}}, cart)
    assert (left.holds, left.value, left.turns_ms) == (False, 0, NOW + 40 * MINUTE)
    assert left.behind[0].count == 1


def test_a_regular_habit_shows_its_periods() -> None:
    asked = {"regularly": {"event": "Đặt hàng", "every": "1d", "at_least": 2, "of": 3}}
    found = leaf(asked, ordered(1, DAY), ordered(2, 0), ordered(3, 8 * DAY))
    assert (found.holds, found.value, found.behind[0].count) == (True, 2, 2)
    assert NOW < found.turns_ms <= NOW + 3 * DAY


def test_lists_buckets_and_everyone_show_what_they_go_by() -> None:
    owner = event(USER, id="-").owner
    on_it = leaf({"list": "khach-quy"}, others=[listed("khach-quy", [owner])], nodes=[owner, "0" * 32])
    assert (on_it.holds, on_it.value) == (True, 1)
    found = leaf({"percent": {"of": 50, "salt": "tết"}})
    assert isinstance(found.value, int)
    assert (found.wanted, found.holds) == ("below 5000 of 10000", found.value < 5000)
    assert leaf({"list": "nobody"}).value == 0
    assert leaf({"everyone": True}).holds


def test_consent_and_subscriptions_show_what_was_last_said() -> None:
    said = event(
        USER, id="m1", name="Segment Consent Preference Updated", context={"consent": {"categoryPreferences": {"quảng cáo": False}}}
    )
    found = leaf({"consent": {"purpose": "quảng cáo"}}, said)
    assert (found.holds, found.value, found.wanted, ties(found)) == (False, "denied", "granted", ["1" + hash_of(1)])
    assert leaf({"subscribed": {"channel": "email", "status": "unknown"}}).value == "unknown"


def test_an_anniversary_shows_the_date_the_local_day_and_the_zone() -> None:
    born = event(USER, id="m1", type="identify", traits={"birthday": "1990-06-25", "timezone": "Asia/Ho_Chi_Minh"})
    found = leaf({"calendar": {"trait": "birthday", "before": 3, "days": 7}}, born, now_ms=NOW + 4 * 60 * MINUTE)
    assert found.value == {"date": "1990-06-25", "today": "2025-06-26", "zone": "Asia/Ho_Chi_Minh"}
    assert found.holds
    assert found.turns_ms < NOW + 7 * DAY
    assert [behind.trait for behind in found.behind] == ["birthday", "timezone"]


def test_groups_show_what_is_known_of_them() -> None:
    home = Group({"city": "Huế"}, 3, {"Đặt hàng": 1})
    asked = {
        "household": {
            "trait": {"path": "city", "value": "Huế"},
            "members": {"at_least": 2},
            "did": {"event": "Đặt hàng", "at_least": 2},
        }
    }
    found = leaf(asked, household=home)
    assert (found.holds, found.value) == (False, {"members": 3, "city": "Huế", "Đặt hàng": 1})
    assert leaf(asked).value is None
    accounts = [Group({"plan": "pro"}, 2), Group({}, 9)]
    of_account = leaf({"account": {"trait": {"path": "plan", "value": "pro"}}}, accounts=accounts)
    assert of_account.value == [{"members": 2, "plan": "pro", "fits": True}, {"members": 9, "plan": None, "fits": False}]


def test_a_computed_trait_shows_its_own_value_its_events_and_when_it_changes() -> None:
    at_risk = {"lifecycle": {"stage": ["at_risk"]}}
    found = leaf(at_risk, event(USER, id="m1", name="Order Completed", time_ms=NOW - 5 * DAY))
    assert (found.holds, found.value, found.wanted) == (False, "first_time", "at_risk")
    [stage] = found.inside
    assert (stage.keyword, stage.holds, stage.value, stage.behind[0].count) == ("computed", None, "first_time", 1)
    assert found.turns_ms == NOW + 85 * DAY
    scored = leaf(
        {"rfm": {"recency": [5]}}, event(USER, id="m1", name="Order Completed", time_ms=NOW - DAY, properties={"total": 7})
    )
    assert scored.holds
    assert scored.inside[0].value == {"recency": 5, "frequency": 1, "monetary": 1, "score": "511"}
    assert scored.inside[0].behind[0].count == 1
    assert scored.turns_ms == NOW + 29 * DAY


def test_a_count_over_all_time_says_how_many_events_are_behind_it() -> None:
    asked = {"trait": {"path": "computed.orders", "op": "gte", "value": 2}}
    found = leaf(asked, ordered(1, DAY), ordered(2, 1), others=[computed("orders", {"count": {"event": "Đặt hàng"}})])
    [counted] = found.inside
    assert (found.value, counted.behind[0].entries, counted.behind[0].count) == (2, None, 2)


def test_another_segment_shows_its_own_tree() -> None:
    buyers = segment("buyers", {"did": {"event": "Đặt hàng", "within": "1h"}})
    found = leaf({"not": {"in_segment": "buyers"}}, ordered(1, 10 * MINUTE), others=[buyers])
    [named] = found.inside
    assert (found.holds, named.holds, named.inside[0].value) == (False, True, 1)
    assert found.turns_ms == named.turns_ms == named.inside[0].turns_ms == NOW + 50 * MINUTE
    unknown = leaf({"in_segment": "gone"})
    assert (unknown.holds, unknown.text) == (False, "in the segment gone, which is not defined")


def test_a_tree_turns_when_its_last_missing_part_does() -> None:
    asked = {"all": [{"did_not": {"event": "Đặt hàng", "within": "1h"}}, {"did_not": {"event": "Gọi", "within": "2h"}}]}
    called = event(USER, id="m9", name="Gọi", time_ms=NOW - 10 * MINUTE)
    found = leaf(asked, ordered(1, 10 * MINUTE), called)
    assert [child.turns_ms for child in found.inside] == [NOW + 50 * MINUTE, NOW + 110 * MINUTE]
    assert (found.holds, found.turns_ms) == (False, NOW + 110 * MINUTE)
    assert [child.holds for child in leaf({"any": [asked, {"everyone": True}]}, called).inside] == [False, True]


def test_what_turns_late_or_never_is_followed_as_far_as_it_is_worth() -> None:
    daily = computed("ngay", {"days_since": {"event": "Đặt hàng"}})
    found = leaf({"trait": {"path": "computed.ngay", "op": "gte", "value": 800}}, ordered(1, 0), others=[daily])
    assert found.turns_ms == NOW + 800 * DAY
    plan = Plan([segment("asked", {"trait": {"path": "computed.ngay", "op": "lt", "value": 0}}), daily])
    never = Explainer(plan).explain("asked", facts(plan, [ordered(1, 0)]), NOW)
    assert (never.tree.holds, never.tree.turns_ms) == (False, NEVER)
    assert NOW + 1_000 * DAY < never.until_ms < NEVER


TIMES = st.lists(st.tuples(st.sampled_from(["Đặt hàng", "Gọi"]), st.integers(0, 3 * 60)), max_size=8)
LEAVES = st.sampled_from(
    [
        {"did": {"event": "Đặt hàng", "at_least": 2, "within": "1h"}},
        {"did": {"event": "Gọi", "at_most": 1, "within": "90m"}},
        {"did_not": {"event": "Gọi", "within": "2h"}},
        {"last": {"event": "Đặt hàng", "within": "2h", "not_within": "30m"}},
        {"sequence": {"first": {"event": "Gọi", "within": "2h"}, "then_not": {"event": "Đặt hàng", "within": "30m"}}},
        {"everyone": True},
    ]
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda nodes: {"all": nodes}),
        st.lists(inner, min_size=1, max_size=3).map(lambda nodes: {"any": nodes}),
        inner.map(lambda node: {"not": node}),
    ),
    max_leaves=6,
)


@given(TREES, TIMES)
def test_it_says_what_the_segment_says_and_turns_exactly_when_it_does(
    where: Mapping[str, Any], times: list[tuple[str, int]]
) -> None:
    happened = [event(USER, id=f"m{n}", name=name, time_ms=NOW - ago * MINUTE) for n, (name, ago) in enumerate(times)]
    plan = Plan([segment("asked", where)])
    held = facts(plan, happened)
    found = Explainer(plan).explain("asked", held, NOW)
    verdict = plan.evaluate(held, NOW)["asked"]
    assert (found.tree.holds, found.tree.next_ms) == (verdict.member, verdict.next_change_ms)
    assert Explainer(plan).turns("asked", held, NOW) == (verdict.member, found.tree.turns_ms)
    for minute in range(1, 5 * 60):
        now = NOW + minute * MINUTE
        if plan.evaluate(held, now)["asked"].member is not verdict.member:
            assert NOW + (minute - 1) * MINUTE < found.tree.turns_ms <= now
            return
    assert found.tree.turns_ms > NOW + 299 * MINUTE
