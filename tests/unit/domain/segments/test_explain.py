"""Why in a segment, and why not: what the tree says of each kind of leaf, and when it turns by itself."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.definitions.kinds import AnyDefinition
from domain.definitions.segment_plan import segment_plan_of
from domain.segments.explain import ExplainedNode, SegmentExplainer
from domain.segments.profile_facts import GroupFacts
from schemas.hashes import message_hash
from schemas.instants import NEVER
from tests.support.events import START_MS, event
from tests.support.segments import computed, facts, list_definition, segment

MINUTE, DAY = 60_000, 86_400_000
NOW_MS = START_MS + 10 * DAY
USER = {"user_id": "u1"}


def leaf(
    where: Mapping[str, Any], *happened: Any, others: Sequence[AnyDefinition] = (), now_ms: int = NOW_MS, **more: Any
) -> ExplainedNode:
    """Explain a segment with one node, after checking that the explanation agrees with the segment's own verdict."""
    plan = segment_plan_of([segment("asked", where), *others])
    held = facts(plan, happened, **more)
    explained = SegmentExplainer(plan).explain("asked", held, now_ms)
    assert explained.segment == "asked"
    assert explained.version == plan.versions["asked"]
    values = {name: one.value for name, one in plan.evaluate_computed(held, now_ms).items() if one.value is not None}
    assert explained.tree.holds is plan.evaluate(replace(held, computed=values), now_ms)["asked"].is_member
    return explained.tree


def ordered(number: int, ago_ms: int, **properties: Any) -> Any:
    return event(USER, id=f"m{number}", name="Đặt hàng", time_ms=NOW_MS - ago_ms, properties=properties)


def ties(explained: ExplainedNode) -> list[str]:
    return [entry[1] for behind in explained.evidence for entry in behind.entries or ()]


def hash_of(number: int) -> str:
    return message_hash(event(USER, id="-").owner, f"m{number}")


def test_a_count_shows_how_often_by_which_events_and_when_it_sinks() -> None:
    asked = {"did": {"event": "Đặt hàng", "at_least": 2, "within": "1h", "where": [{"prop": "total", "op": "gte", "value": 5}]}}
    found = leaf(asked, ordered(1, 31 * MINUTE, total=9), ordered(2, 5 * MINUTE, total=5), ordered(3, MINUTE, total=4))
    assert found.holds is True
    assert found.value == 2
    assert found.is_lower_bound is True
    assert found.expected == "at least 2 times"
    assert found.text == "Đặt hàng (total ≥ 5) in the last 1h: at least 2 times"
    assert ties(found) == [hash_of(2), hash_of(1)]
    assert found.flips_at_ms == found.next_change_ms == NOW_MS + 29 * MINUTE
    missing = leaf(asked, ordered(2, 5 * MINUTE, total=5))
    assert missing.holds is False
    assert missing.value == 1
    assert missing.is_lower_bound is False
    assert missing.flips_at_ms == NEVER


def test_what_did_not_happen_turns_when_the_last_time_leaves_the_window() -> None:
    asked = {"did_not": {"event": "Đặt hàng", "within": "1h"}}
    found = leaf(asked, ordered(1, 10 * MINUTE))
    assert found.holds is False
    assert found.value == 1
    assert found.flips_at_ms == NOW_MS + 50 * MINUTE
    assert ties(found) == [hash_of(1)]
    assert leaf(asked).holds is True


def test_a_trait_shows_what_it_is_and_whose_event_set_it() -> None:
    said = event(USER, id="m1", type="identify", traits={"address": {"city": "Huế"}, "birthday": "2025-06-30"}, time_ms=START_MS)
    asked = {"trait": {"path": "address.city", "op": "in", "value": ["Hà Nội", "Đà Nẵng"]}}
    found = leaf(asked, said)
    assert found.holds is False
    assert found.value == "Huế"
    assert found.expected == "in Hà Nội, Đà Nẵng"
    assert [behind.trait for behind in found.evidence] == ["address.city"]
    assert leaf(asked).value is None
    dated = leaf({"trait": {"path": "birthday", "op": "within_next", "value": "30d"}}, said)
    assert dated.holds is True
    assert dated.value == "2025-06-30"
    assert dated.flips_at_ms < NEVER


def test_the_first_or_last_time_shows_when_it_was_and_whether_it_was_as_asked() -> None:
    asked = {"last": {"event": "Đặt hàng", "having": [{"prop": "total", "op": "gte", "value": 5}], "within": "1h"}}
    found = leaf(asked, ordered(1, 20 * MINUTE, total=9), ordered(2, 10 * MINUTE, total=1))
    assert found.holds is False
    assert found.value == {"at_ms": NOW_MS - 10 * MINUTE, "as_asked": False}
    assert leaf({"first": {"event": "Đặt hàng", "within": "1h"}}, ordered(1, MINUTE)).value == {"at_ms": NOW_MS - MINUTE}
    assert leaf(asked).value is None


@pytest.mark.parametrize(
    ("of", "value", "found", "holds"),
    [("sum", 10, 14, True), ("avg", 8, 7, False), ("min", 6, 5, False), ("max", 9, 9, True), ("distinct", 2, 2, True)],
)
@pytest.mark.parametrize("within", ["1h", None])
def test_an_aggregate_shows_its_number(of: str, value: int, found: int, holds: bool, within: str | None) -> None:
    asked = {"of": of, "event": "Đặt hàng", "prop": "total", "value": value, **({"within": within} if within else {})}
    got = leaf({"aggregate": asked}, ordered(1, 20 * MINUTE, total=9), ordered(2, 10 * MINUTE, total=5))
    assert got.value == found
    assert got.holds == holds
    assert got.is_approximate is False
    assert sum(behind.count for behind in got.evidence) in (1, 2)


def test_a_register_that_is_too_small_makes_an_answer_approximate() -> None:
    asked = {"aggregate": {"of": "sum", "event": "Đặt hàng", "prop": "total", "value": 3, "within": "1h", "keep": 1}}
    happened = [ordered(1, 20 * MINUTE, total=9), ordered(2, 10 * MINUTE, total=5)]
    assert leaf(asked, *happened).is_approximate
    plan = segment_plan_of([segment("asked", {"not": asked})])
    assert SegmentExplainer(plan).explain("asked", facts(plan, happened), NOW_MS).is_approximate


def test_a_sequence_shows_the_first_event_and_what_followed_it() -> None:
    cart = event(USER, id="m1", name="Giỏ hàng", time_ms=NOW_MS - 20 * MINUTE, properties={"cart": "g1"})
    first = {"event": "Giỏ hàng", "within": "7d"}
    then = {"event": "Đặt hàng", "within": "1h", "same": ["cart"]}
    bought = leaf({"sequence": {"first": first, "then": then}}, cart, ordered(2, MINUTE, cart="g1"), ordered(3, MINUTE, cart="g2"))
    assert bought.holds
    assert [behind.register.event for behind in bought.evidence if behind.register] == ["Giỏ hàng", "Đặt hàng"]
    assert [b.count for b in bought.evidence] == [1, 1]
    left = leaf({"sequence": {"first": first, "then_not": then}}, cart)
    assert left.holds is False
    assert left.value == 0
    assert left.flips_at_ms == NOW_MS + 40 * MINUTE
    assert left.evidence[0].count == 1


def test_a_regular_habit_shows_its_periods() -> None:
    asked = {"regularly": {"event": "Đặt hàng", "every": "1d", "at_least": 2, "of": 3}}
    found = leaf(asked, ordered(1, DAY), ordered(2, 0), ordered(3, 8 * DAY))
    assert found.holds is True
    assert found.value == 2
    assert found.evidence[0].count == 2
    assert NOW_MS < found.flips_at_ms <= NOW_MS + 3 * DAY


def test_lists_buckets_and_everyone_show_their_basis() -> None:
    owner = event(USER, id="-").owner
    on_it = leaf({"list": "khach-quy"}, others=[list_definition("khach-quy", [owner])], nodes=[owner, "0" * 32])
    assert on_it.holds is True
    assert on_it.value == 1
    found = leaf({"percent": {"of": 50, "salt": "tết"}})
    assert isinstance(found.value, int)
    assert found.expected == "below 5000 of 10000"
    assert found.holds == (found.value < 5000)
    assert leaf({"list": "nobody"}).value == 0
    assert leaf({"everyone": True}).holds


def test_consent_and_subscriptions_show_what_was_last_said() -> None:
    said = event(
        USER, id="m1", name="Segment Consent Preference Updated", context={"consent": {"categoryPreferences": {"quảng cáo": False}}}
    )
    found = leaf({"consent": {"purpose": "quảng cáo"}}, said)
    assert found.holds is False
    assert found.value == "denied"
    assert found.expected == "granted"
    assert ties(found) == ["1" + hash_of(1)]
    assert leaf({"subscribed": {"channel": "email", "status": "unknown"}}).value == "unknown"


def test_an_anniversary_shows_the_date_the_local_day_and_the_zone() -> None:
    born = event(USER, id="m1", type="identify", traits={"birthday": "1990-06-25", "timezone": "Asia/Ho_Chi_Minh"})
    found = leaf({"calendar": {"trait": "birthday", "before": 3, "days": 7}}, born, now_ms=NOW_MS + 4 * 60 * MINUTE)
    assert found.value == {"date": "1990-06-25", "today": "2025-06-26", "zone": "Asia/Ho_Chi_Minh"}
    assert found.holds
    assert found.flips_at_ms < NOW_MS + 7 * DAY
    assert [behind.trait for behind in found.evidence] == ["birthday", "timezone"]


def test_groups_show_what_is_known_of_them() -> None:
    home = GroupFacts({"city": "Huế"}, 3, {"Đặt hàng": 1})
    asked = {
        "household": {
            "trait": {"path": "city", "value": "Huế"},
            "members": {"at_least": 2},
            "did": {"event": "Đặt hàng", "at_least": 2},
        }
    }
    found = leaf(asked, household=home)
    assert found.holds is False
    assert found.value == {"members": 3, "city": "Huế", "Đặt hàng": 1}
    assert leaf(asked).value is None
    accounts = [GroupFacts({"plan": "pro"}, 2), GroupFacts({}, 9)]
    of_account = leaf({"account": {"trait": {"path": "plan", "value": "pro"}}}, accounts=accounts)
    assert of_account.value == [{"members": 2, "plan": "pro", "fits": True}, {"members": 9, "plan": None, "fits": False}]


def test_a_computed_trait_shows_its_own_value_its_events_and_when_it_changes() -> None:
    at_risk = {"lifecycle": {"stage": ["at_risk"]}}
    found = leaf(at_risk, event(USER, id="m1", name="Order Completed", time_ms=NOW_MS - 5 * DAY))
    assert found.holds is False
    assert found.value == "first_time"
    assert found.expected == "at_risk"
    [stage] = found.children
    assert stage.keyword == "computed"
    assert stage.holds is None
    assert stage.value == "first_time"
    assert stage.evidence[0].count == 1
    assert found.flips_at_ms == NOW_MS + 85 * DAY
    scored = leaf(
        {"rfm": {"recency": [5]}}, event(USER, id="m1", name="Order Completed", time_ms=NOW_MS - DAY, properties={"total": 7})
    )
    assert scored.holds
    assert scored.children[0].value == {"recency": 5, "frequency": 1, "monetary": 1, "score": "511"}
    assert scored.children[0].evidence[0].count == 1
    assert scored.flips_at_ms == NOW_MS + 29 * DAY


def test_a_count_over_all_time_says_how_many_events_are_behind_it() -> None:
    asked = {"trait": {"path": "computed.orders", "op": "gte", "value": 2}}
    found = leaf(asked, ordered(1, DAY), ordered(2, 1), others=[computed("orders", {"count": {"event": "Đặt hàng"}})])
    [counted] = found.children
    assert found.value == 2
    assert counted.evidence[0].entries is None
    assert counted.evidence[0].count == 2


def test_another_segment_shows_its_own_tree() -> None:
    buyers = segment("buyers", {"did": {"event": "Đặt hàng", "within": "1h"}})
    found = leaf({"not": {"in_segment": "buyers"}}, ordered(1, 10 * MINUTE), others=[buyers])
    [named] = found.children
    assert found.holds is False
    assert named.holds is True
    assert named.children[0].value == 1
    assert found.flips_at_ms == named.flips_at_ms == named.children[0].flips_at_ms == NOW_MS + 50 * MINUTE
    unknown = leaf({"in_segment": "gone"})
    assert unknown.holds is False
    assert unknown.text == "in the segment gone, which is not defined"


def test_a_tree_turns_when_its_last_missing_part_does() -> None:
    asked = {"all": [{"did_not": {"event": "Đặt hàng", "within": "1h"}}, {"did_not": {"event": "Gọi", "within": "2h"}}]}
    called = event(USER, id="m9", name="Gọi", time_ms=NOW_MS - 10 * MINUTE)
    found = leaf(asked, ordered(1, 10 * MINUTE), called)
    assert [child.flips_at_ms for child in found.children] == [NOW_MS + 50 * MINUTE, NOW_MS + 110 * MINUTE]
    assert found.holds is False
    assert found.flips_at_ms == NOW_MS + 110 * MINUTE
    assert [child.holds for child in leaf({"any": [asked, {"everyone": True}]}, called).children] == [False, True]


def test_next_change_search_is_bounded() -> None:
    daily = computed("ngay", {"days_since": {"event": "Đặt hàng"}})
    found = leaf({"trait": {"path": "computed.ngay", "op": "gte", "value": 800}}, ordered(1, 0), others=[daily])
    assert found.flips_at_ms == NOW_MS + 800 * DAY
    plan = segment_plan_of([segment("asked", {"trait": {"path": "computed.ngay", "op": "lt", "value": 0}}), daily])
    never = SegmentExplainer(plan).explain("asked", facts(plan, [ordered(1, 0)]), NOW_MS)
    assert never.tree.holds is False
    assert never.tree.flips_at_ms == NEVER
    assert NOW_MS + 1_000 * DAY < never.until_ms < NEVER


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
def test_explanation_agrees_with_the_segment_at_every_instant(where: Mapping[str, Any], times: list[tuple[str, int]]) -> None:
    happened = [event(USER, id=f"m{n}", name=name, time_ms=NOW_MS - ago * MINUTE) for n, (name, ago) in enumerate(times)]
    plan = segment_plan_of([segment("asked", where)])
    held = facts(plan, happened)
    found = SegmentExplainer(plan).explain("asked", held, NOW_MS)
    verdict = plan.evaluate(held, NOW_MS)["asked"]
    assert found.tree.holds == verdict.is_member
    assert found.tree.next_change_ms == verdict.next_change_ms
    assert SegmentExplainer(plan).next_flip("asked", held, NOW_MS) == (verdict.is_member, found.tree.flips_at_ms)
    for minute in range(1, 5 * 60):
        now = NOW_MS + minute * MINUTE
        if plan.evaluate(held, now)["asked"].is_member is not verdict.is_member:
            assert NOW_MS + (minute - 1) * MINUTE < found.tree.flips_at_ms <= now
            return
    assert found.tree.flips_at_ms > NOW_MS + 299 * MINUTE
