"""What is evaluated again when something changes, what is due, and what a change of the definitions does."""

import random
from collections.abc import Collection, Sequence
from typing import Any

import pytest

from domain.definitions.kinds import Segment
from domain.definitions.segment_plan import segment_plan_of
from domain.profiles.fragment import Fragment, apply_event
from domain.profiles.membership import Membership, SegmentState, decode_membership
from domain.segments.evaluation import Evaluation, evaluate_profile
from domain.segments.plan import SegmentPlan, trait_change_key
from domain.segments.profile_facts import ProfileFacts
from schemas.codec import encode
from schemas.events import Event
from schemas.instants import DAY_MS
from schemas.records import Touched
from streams.steps.segment import SegmentStep
from tests.support.events import START_MS
from tests.support.segments import OWNER, computed, customer_event, facts, segment
from tests.support.simulated_pipeline import Pipeline

T = START_MS
HOUR = 3_600_000
PLAN = segment_plan_of([
    segment("buyer", {"did": {"event": "Bought"}}),
    segment("recent", {"did": {"event": "Viewed", "within": "1h"}}),
    segment("quiet", {"did_not": {"event": "Viewed", "within": "1h"}}),
    segment("vip", {"trait": {"path": "tier", "value": "vip"}}),
    segment("big", {"trait": {"path": "computed.spent", "op": "gte", "value": 100}}),
    segment("fan", {"all": [{"in_segment": "big"}, {"in_segment": "recent"}]}),
    segment("team", {"account": {"members": {"at_least": 2}}}),
    computed("spent", {"sum": {"event": "Bought", "prop": "total", "within": "1d"}}),
])  # fmt: skip
ALWAYS = {"team"}


def membership_after(standing: Evaluation, before: Membership, plan: SegmentPlan = PLAN) -> Membership:
    """Return the membership document that the next evaluation reads."""
    segments = dict(before.segments) | {name: SegmentState(inside, 1, 0) for name, inside in standing.members.items()}
    return Membership(segments=segments, computed=standing.computed, next_change_ms=standing.due, plan_fingerprint=plan.fingerprint)


def evaluate(events: Sequence[Event], changed: Collection[str] | None, now_ms: int, before: Membership) -> Evaluation:
    return evaluate_profile(PLAN, before, facts(PLAN, events), changed, now_ms)


def members(membership: Membership) -> set[str]:
    return {name for name, state in membership.segments.items() if state.member}


VIEWED = [customer_event("Viewed", T)]
FIRST = membership_after(evaluate(VIEWED, None, T, Membership()), Membership())


def test_first_evaluation_covers_every_segment() -> None:
    standing = evaluate(VIEWED, {"Viewed"}, T, Membership())
    assert standing.complete
    assert members(membership_after(standing, Membership())) == {"recent"}
    assert standing.computed == {"lifecycle": "lead"}
    assert standing.due == {"recent": T + HOUR, "quiet": T + HOUR}
    assert standing.next_ms == T + HOUR
    assert evaluate([], None, T, Membership()).next_ms is None


@pytest.mark.parametrize(
    ("changed", "looked"),
    [
        ({"Viewed"}, {"recent", "quiet"}), ({trait_change_key("tier")}, {"vip"}), ({"Bought"}, {"buyer"}), ({"Other"}, set()),
        (set(), set()),
        ({"Bought", trait_change_key("tier")}, {"buyer", "vip"}),
    ],
)  # fmt: skip
def test_only_affected_segments_are_evaluated(changed: set[str], looked: set[str]) -> None:
    standing = evaluate(VIEWED, changed, T + 1, FIRST)
    assert set(standing.members) == looked | ALWAYS
    assert not standing.complete
    assert standing.computed == FIRST.computed
    assert standing.due == FIRST.next_change_ms


def test_unknown_change_evaluates_every_segment() -> None:
    standing = evaluate(VIEWED, None, T + 1, FIRST)
    assert standing.complete
    assert members(membership_after(standing, Membership())) == {"recent"}


def test_changed_computed_trait_evaluates_segments_that_read_it() -> None:
    events = [*VIEWED, customer_event("Bought", T + 5, {"total": 100})]
    standing = evaluate(events, {"Bought"}, T + 5, FIRST)
    assert standing.computed == {"lifecycle": "lead", "spent": 100}
    assert standing.members == {"buyer": True, "big": True, "fan": True, "team": False}
    assert standing.due == {
        "recent": T + HOUR, "quiet": T + HOUR, "fan": T + HOUR, "computed.spent": T + 5 + DAY_MS
    }  # fmt: skip


def test_unchanged_computed_trait_evaluates_no_segment() -> None:
    events = [customer_event("Bought", T, {"total": 100})]
    before = membership_after(evaluate(events, None, T, Membership()), Membership())
    standing = evaluate([*events, customer_event("Bought", T + 1, {"total": 0})], {"Bought"}, T + 1, before)
    assert set(standing.members) == {"buyer"} | ALWAYS


@pytest.mark.parametrize(("earlier", "later"), [(1, True), (True, 1), ("1", 1), (0, False)])
def test_a_computed_trait_of_another_kind_is_another_value(earlier: Any, later: Any) -> None:
    plan = segment_plan_of([
        computed("said", {"last": {"event": "e", "prop": "x"}}),
        segment("s", {"trait": {"path": "computed.said", "value": later}}),
    ])  # fmt: skip
    events = [customer_event("e", T, {"x": earlier}), customer_event("e", T + 1, {"x": later})]
    before = membership_after(evaluate_profile(plan, Membership(), facts(plan, events[:1]), None, T), Membership(), plan)
    assert members(before) == set()
    assert evaluate_profile(plan, before, facts(plan, events), {"e"}, T + 1).members == {"s": True}


def test_computed_trait_without_a_value_is_removed() -> None:
    events = [customer_event("Bought", T, {"total": 100})]
    before = membership_after(evaluate(events, None, T, Membership()), Membership())
    assert {"big", "buyer"} <= members(before)
    standing = evaluate(events, (), T + DAY_MS, before)
    assert standing.computed == {"lifecycle": "lead"}
    assert standing.members == {"big": False, "fan": False, "team": False}
    assert standing.due == {}


def test_due_segment_is_evaluated_and_its_timer_cleared() -> None:
    early = evaluate(VIEWED, (), T + HOUR - 1, FIRST)
    assert set(early.members) == ALWAYS
    assert early.due == FIRST.next_change_ms
    standing = evaluate(VIEWED, (), T + HOUR, FIRST)
    assert standing.members == {"recent": False, "quiet": True, "fan": False, "team": False}
    assert standing.due == {}
    assert standing.next_ms is None


def test_change_by_an_event_at_the_due_instant_sets_a_new_timer() -> None:
    standing = evaluate([*VIEWED, customer_event("Viewed", T + HOUR)], {"Viewed"}, T + HOUR, FIRST)
    assert standing.members == {"recent": True, "quiet": False, "fan": False, "team": False}
    assert standing.due == {"recent": T + 2 * HOUR, "quiet": T + 2 * HOUR}


def test_a_replaced_instant_is_the_new_one() -> None:
    events = [*VIEWED, customer_event("Viewed", T + 10)]
    assert evaluate(events, {"Viewed"}, T + 10, FIRST).due == {"recent": T + 10 + HOUR, "quiet": T + 10 + HOUR}


@pytest.mark.parametrize(
    "definitions",
    [
        [segment("vip", {"trait": {"path": "tier", "value": "gold"}})],
        [segment("vip", {"trait": {"path": "tier", "value": "vip"}}), segment("new", {"everyone": True})],
        [],
    ],
)
def test_changed_definitions_evaluate_every_segment(definitions: list[Segment]) -> None:
    plan = segment_plan_of(definitions)
    held = facts(plan, [], traits={"tier": "gold"})
    standing = evaluate_profile(plan, FIRST, held, (), T)
    assert standing.complete
    assert standing.due == {}
    _, verdicts = plan.evaluate_all(held, T)
    inside = {name for name, verdict in verdicts.items() if verdict.is_member}
    assert {name for name, member in standing.members.items() if member} == inside
    assert set(standing.members) <= set(plan.segments)


def test_a_register_that_is_too_small_is_named() -> None:
    leaf = {"event": "e", "of": "sum", "prop": "x", "value": 1, "within": "1d", "keep": 1}
    plan = segment_plan_of([
        segment("s", {"aggregate": leaf}), segment("t", {"did": {"event": "e"}}),
        computed("n", {"count": {"event": "e", "within": "1d", "keep": 1}}),
    ])  # fmt: skip
    held = facts(plan, [customer_event("e", T, {"x": n}, id=str(n)) for n in range(2)])
    assert set(evaluate_profile(plan, Membership(), held, None, T).approximate) == {"s", "computed.n"}
    assert evaluate_profile(plan, Membership(), ProfileFacts(), None, T).approximate == ()


def test_incremental_evaluations_equal_one_final_evaluation() -> None:
    rng = random.Random(7)
    for _ in range(30):
        fragment, events = Fragment(), list[Event]()
        before, now = Membership(), T
        for number in range(12):
            now += rng.choice([1, HOUR // 2, HOUR, DAY_MS])
            name = rng.choice(["Viewed", "Bought", "$identify", ""])
            if name:
                said = {"traits": {"tier": rng.choice(["vip", "gold", None])}} if name == "$identify" else {}
                events.append(customer_event(name, now, {"total": rng.choice([50, 100, "x"])}, id=str(number), **said))
            changed = apply_event(fragment, events[-1], PLAN).changes if name else ()
            standing = evaluate(events, changed, now, before)
            before = membership_after(standing, before)
            assert standing.next_ms is None or standing.next_ms > now
        values, verdicts = PLAN.evaluate_all(facts(PLAN, events), now)
        assert before.computed == values
        assert members(before) == {name for name, verdict in verdicts.items() if verdict.is_member}


async def document(line: Pipeline, profile_id: str) -> Membership:
    found = await line.store.documents("membership", [profile_id])
    return decode_membership(found[profile_id].data)


async def test_members_of_a_removed_segment_exit_with_cause_definition() -> None:
    gone, stays = segment("gone", {"did": {"event": "Viewed"}}), segment("stays", {"did": {"event": "Viewed", "within": "9d"}})
    line = Pipeline(random.Random(1), [gone, stays])
    line.clock.advance(T)
    line.feed(customer_event("Viewed", line.clock.now_ms(), identifiers=OWNER))
    await line.drain()
    [profile_id] = {transition.profile_id for transition in line.transitions()}
    assert (await document(line, profile_id)).active_segments() == {"gone", "stays"}

    changed = segment_plan_of([stays, segment("new", {"did": {"event": "Viewed"}})])
    line.steps["touched"] = SegmentStep(line.settings, line.store, lambda: changed)
    touched = Touched(profile_id=profile_id, node=profile_id, cause="definition", at_ms=line.clock.now_ms())
    line.append("touched", profile_id.encode(), encode(touched))
    await line.drain()
    said = [(one.segment, one.op, one.cause) for one in line.transitions()[2:]]
    assert sorted(said) == [("gone", "exited", "definition"), ("new", "entered", "definition")]
    after = await document(line, profile_id)
    assert after.active_segments() == {"stays", "new"}
    assert after.plan_fingerprint == changed.fingerprint
    assert line.profiles()[profile_id].segments == ("new", "stays")


async def test_event_after_a_removal_also_exits_the_removed_segment() -> None:
    line = Pipeline(random.Random(2), [segment("gone", {"did": {"event": "Viewed"}})])
    line.clock.advance(T)
    line.feed(customer_event("Viewed", line.clock.now_ms(), id="1"))
    await line.drain()
    nothing = SegmentPlan()
    line.steps["touched"] = SegmentStep(line.settings, line.store, lambda: nothing)
    line.feed(customer_event("Other", line.clock.now_ms(), id="2"))
    await line.drain()
    said = [(one.segment, one.op, one.cause, one.event_id) for one in line.transitions()]
    assert said == [("gone", "entered", "event", "1"), ("gone", "exited", "definition", "")]
