"""`all`, `any`, `not`, `in_segment`: right now and until the next change, in the right order."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.definitions.segment_plan import segment_plan_of
from domain.segments.plan import MAX_SEGMENT_DEPTH, CyclicSegments
from domain.segments.profile_facts import ProfileFacts
from domain.segments.tree import MembershipResult
from schemas.events import Event
from schemas.instants import NEVER
from tests.support.segments import customer_event, facts, segment

HORIZON = 60
FAR = 200
TIMES = st.lists(st.integers(0, 30), max_size=8)


@st.composite
def trees(draw: st.DrawFn, depth: int = 3) -> Any:
    """Draw a condition over events a and b and the trait t."""
    kind = draw(st.sampled_from(["did", "did_not", "trait"] if depth == 0 else ["did", "did_not", "trait", "not", "all", "any"]))
    window = {"within": f"{draw(st.integers(1, 20))}ms"} if draw(st.booleans()) else {}
    if kind == "did":
        return {"did": {"event": draw(st.sampled_from(["a", "b"])), "at_least": draw(st.integers(1, 3)), **window}}
    if kind == "did_not":
        return {"did_not": {"event": draw(st.sampled_from(["a", "b"])), **window}}
    if kind == "trait":
        return {"trait": {"path": "t", "value": draw(st.sampled_from(["x", 1]))}}
    if kind == "not":
        return {"not": draw(trees(depth - 1))}
    return {kind: draw(st.lists(trees(depth - 1), min_size=1, max_size=3))}


def times_inside(spec: Any, times: dict[str, list[int]], now: int) -> int:
    start = now - int(spec["within"].removesuffix("ms")) if "within" in spec else -1
    return len([time for time in times[spec["event"]] if start < time <= now])


def member(tree: Any, times: dict[str, list[int]], traits: dict[str, Any], now: int) -> bool:
    """Evaluate the condition by its definition, word for word, at the instant `now` alone."""
    if "did" in tree:
        return times_inside(tree["did"], times, now) >= int(tree["did"]["at_least"])
    if "did_not" in tree:
        return times_inside(tree["did_not"], times, now) == 0
    if "trait" in tree:
        return "t" in traits and type(traits["t"]) is type(tree["trait"]["value"]) and bool(traits["t"] == tree["trait"]["value"])
    if "not" in tree:
        return not member(tree["not"], times, traits, now)
    children = [member(child, times, traits, now) for child in tree.get("all", tree.get("any"))]
    return all(children) if "all" in tree else any(children)


def events(times: dict[str, list[int]]) -> list[Event]:
    return [customer_event(name, at, id=f"{name}{number}") for name, found in times.items() for number, at in enumerate(found)]


@given(
    tree=trees(),
    times=st.fixed_dictionaries({"a": TIMES, "b": TIMES}),
    traits=st.sampled_from([{}, {"t": "x"}, {"t": 1}, {"t": "1"}]),
    now=st.integers(30, HORIZON),
)
def test_a_tree_is_right_now_and_until_its_next_change(
    tree: Any, times: dict[str, list[int]], traits: dict[str, Any], now: int
) -> None:
    plan = segment_plan_of([segment("s", tree)])
    verdict = plan.evaluate(facts(plan, events(times), traits=traits), now)["s"]
    assert now < verdict.next_change_ms
    for instant in range(now, min(verdict.next_change_ms, FAR)):
        assert member(tree, times, traits, instant) is verdict.is_member


@given(tree=trees(), times=st.fixed_dictionaries({"a": TIMES, "b": TIMES}), now=st.integers(30, HORIZON))
def test_following_next_changes_sees_every_change(tree: Any, times: dict[str, list[int]], now: int) -> None:
    plan = segment_plan_of([segment("s", tree)])
    held, instant = facts(plan, events(times)), now
    seen: dict[int, bool] = {}
    while instant < FAR:
        verdict = plan.evaluate(held, instant)["s"]
        seen |= dict.fromkeys(range(instant, min(verdict.next_change_ms, FAR)), verdict.is_member)
        instant = verdict.next_change_ms
    assert seen == {at: member(tree, times, {}, at) for at in range(now, FAR)}


@given(tree=trees(), times=st.fixed_dictionaries({"a": TIMES, "b": TIMES}), now=st.integers(30, HORIZON))
def test_not_turns_the_verdict_and_keeps_the_next_change(tree: Any, times: dict[str, list[int]], now: int) -> None:
    plan = segment_plan_of([segment("s", tree), segment("opposite", {"not": tree})])
    verdicts = plan.evaluate(facts(plan, events(times)), now)
    assert verdicts["opposite"] == msgspec.structs.replace(verdicts["s"], is_member=not verdicts["s"].is_member)


LEAVES: dict[str, Any] = {
    "true till 20": {"did": {"event": "a", "within": "20ms"}},
    "true till 30": {"did": {"event": "a", "within": "30ms"}},
    "false till 20": {"did_not": {"event": "a", "within": "20ms"}},
    "false till 30": {"did_not": {"event": "a", "within": "30ms"}},
    "true": {"everyone": True},
    "false": {"not": {"everyone": True}},
}


@pytest.mark.parametrize(
    ("word", "children", "inside", "next_ms"),
    [
        ("all", ["true till 20", "true till 30"], True, 20),
        ("all", ["true", "true till 30"], True, 30),
        ("all", ["true", "true"], True, NEVER),
        ("all", ["false till 20", "false till 30"], False, 30),
        ("all", ["false till 30", "true till 20"], False, 30),
        ("all", ["false till 20", "false", "true till 30"], False, NEVER),
        ("all", ["true till 20", "false"], False, NEVER),
        ("any", ["false till 20", "false till 30"], False, 20),
        ("any", ["false", "false till 30"], False, 30),
        ("any", ["false", "false"], False, NEVER),
        ("any", ["true till 20", "true till 30"], True, 30),
        ("any", ["true till 30", "false till 20"], True, 30),
        ("any", ["true till 20", "true", "false till 30"], True, NEVER),
    ],
)
def test_a_tree_sleeps_as_long_as_it_cannot_change(word: str, children: list[str], inside: bool, next_ms: int) -> None:
    plan = segment_plan_of([segment("s", {word: [LEAVES[child] for child in children]})])
    verdict = plan.evaluate(facts(plan, [customer_event("a", 0)]), 5)["s"]
    assert verdict.is_member == inside
    assert verdict.next_change_ms == next_ms


VIP = {"trait": {"path": "tier", "value": "vip"}}


@pytest.mark.parametrize("names", [("a", "b", "c"), ("c", "b", "a"), ("b", "c", "a")])
def test_a_segment_is_decided_after_those_that_it_names(names: tuple[str, str, str]) -> None:
    first, second, third = names
    plan = segment_plan_of([segment(third, {"in_segment": second}), segment(second, {"in_segment": first}), segment(first, VIP)])
    assert list(plan.segments) == [first, second, third]
    verdicts = plan.evaluate(ProfileFacts({"tier": "vip"}), 0)
    assert [verdicts[name].is_member for name in names] == [True, True, True]


def test_the_next_change_reaches_through_in_segment() -> None:
    plan = segment_plan_of([segment("a", {"not": {"in_segment": "z"}}), segment("z", {"did": {"event": "e", "within": "10ms"}})])
    held = facts(plan, [customer_event("e", 5)])
    assert plan.evaluate(held, 6) == {
        "z": MembershipResult(is_member=True, next_change_ms=15), "a": MembershipResult(is_member=False, next_change_ms=15)
    }  # fmt: skip
    assert {name: verdict.is_member for name, verdict in plan.evaluate(held, 15).items()} == {"z": False, "a": True}


def test_a_segment_that_is_not_defined_has_no_members() -> None:
    plan = segment_plan_of([segment("a", {"in_segment": "gone"}), segment("b", {"not": {"in_segment": "gone"}})])
    verdicts = plan.evaluate(ProfileFacts(), 0)
    assert verdicts["a"].is_member is False
    assert verdicts["b"].is_member is True


def test_a_circle_is_refused_and_named() -> None:
    circle = [
        segment("a", {"in_segment": "b"}),
        segment("b", {"not": {"in_segment": "c"}}),
        segment("c", {"any": [{"in_segment": "a"}]}),
    ]
    with pytest.raises(CyclicSegments, match="a -> b -> c -> a"):
        segment_plan_of(circle)
    with pytest.raises(CyclicSegments, match="a -> a"):
        segment_plan_of([segment("a", {"in_segment": "a"})])


def chain(names: Sequence[str]) -> list[Any]:
    """Return segments of which each refers to the one before it."""
    return [
        segment(name, VIP if number == 0 else {"any": [{"in_segment": names[number - 1]}]}) for number, name in enumerate(names)
    ]


@pytest.mark.parametrize("order", [1, -1])
def test_in_segment_leads_over_so_many_segments_and_no_further(order: int) -> None:
    names = [f"s{number}" for number in range(MAX_SEGMENT_DEPTH + 2)][::order]
    plan = segment_plan_of(chain(names[:-1]))
    assert plan.evaluate(ProfileFacts({"tier": "vip"}), 0)[names[-2]].is_member
    with pytest.raises(CyclicSegments, match=f"{names[-1]}: in_segment leads over more than {MAX_SEGMENT_DEPTH}"):
        segment_plan_of(chain(names))


def test_naming_one_segment_by_two_ways_is_no_circle() -> None:
    plan = segment_plan_of([
        segment("d", {"all": [{"in_segment": "b"}, {"in_segment": "c"}]}), segment("b", {"in_segment": "a"}),
        segment("c", {"in_segment": "a"}), segment("a", VIP),
    ])  # fmt: skip
    assert plan.evaluate(ProfileFacts({"tier": "vip"}), 0)["d"].is_member


def test_dependents_of_a_changed_segment_are_evaluated_with_it() -> None:
    plan = segment_plan_of([*chain(["a", "b", "c"]), segment("other", VIP)])
    out = {name: MembershipResult(is_member=False, next_change_ms=NEVER) for name in plan.segments}
    found = plan.evaluate(ProfileFacts({"tier": "vip"}), 0, {"a"}, out)
    assert {name: verdict.is_member for name, verdict in found.items()} == {"a": True, "b": True, "c": True}
    assert set(plan.evaluate(ProfileFacts(), 0, {"a"}, out)) == {"a"}


def test_unevaluated_segment_reference_uses_its_stored_membership() -> None:
    plan = segment_plan_of([segment("a", VIP), segment("b", {"all": [{"in_segment": "a"}, {"did": {"event": "e"}}]})])
    before = {
        "a": MembershipResult(is_member=True, next_change_ms=NEVER),
        "b": MembershipResult(is_member=False, next_change_ms=NEVER),
    }
    found = plan.evaluate(facts(plan, [customer_event("e", 0)]), 0, {"b"}, before)
    assert {name: verdict.is_member for name, verdict in found.items()} == {"b": True}


def test_dependents_inherit_the_next_change_of_a_referenced_segment() -> None:
    plan = segment_plan_of([segment("a", {"did": {"event": "e", "within": "10ms"}}), segment("b", {"in_segment": "a"})])
    held = facts(plan, [customer_event("e", 0), customer_event("e", 5)])
    before = dict.fromkeys(("a", "b"), MembershipResult(is_member=True, next_change_ms=10))
    found = plan.evaluate(held, 5, {"a"}, before)
    assert found == dict.fromkeys(("a", "b"), MembershipResult(is_member=True, next_change_ms=15))
