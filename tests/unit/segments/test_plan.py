"""The evaluator: when a verdict changes by time alone, order of segments, two-valued logic, no coercion, NFC."""

import unicodedata
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segments.definitions import BadDefinition, Segment, decode, encode, parse
from segments.language import Condition, DidLeaf, walk
from segments.plan import NEVER, CyclicSegments, Facts, Plan, Verdict, did, holds, keep_newest, lookup

HORIZON = 60


def segment(name: str, where: Any) -> Segment:
    document = parse({"apiVersion": "onefold/v1", "kind": "Segment", "metadata": {"name": name}, "spec": {"where": where}}, "test")
    assert isinstance(document, Segment)
    return document


def leaf(at_least: int = 1, within: int | None = None) -> DidLeaf:
    return DidLeaf.model_validate({"event": "e", "at_least": at_least, "within": None if within is None else f"{within}ms"})


def in_truth(times: Sequence[int], at_least: int, within: int | None, now: int) -> bool:
    """The definition, word for word: at least so many in (now - within, now]."""
    return sum(1 for time in times if time <= now and (within is None or time > now - within)) >= at_least


def newest(times: Sequence[int], limit: int) -> list[tuple[int, str]]:
    return keep_newest([(time, f"m{index}") for index, time in enumerate(times)], limit)


TIMES = st.lists(st.integers(0, 30), max_size=12)
AT_LEAST = st.integers(1, 4)
WITHIN = st.one_of(st.none(), st.integers(1, 20))


@given(times=TIMES, at_least=AT_LEAST, within=WITHIN, now=st.integers(30, HORIZON))
def test_the_newest_times_alone_decide_as_all_of_them_would(times: list[int], at_least: int, within: int | None, now: int) -> None:
    verdict = did(leaf(at_least, within), newest(times, at_least), now)
    assert verdict.member is in_truth(times, at_least, within, now)


@given(times=TIMES, at_least=AT_LEAST, within=WITHIN, now=st.integers(30, HORIZON))
def test_the_next_change_is_the_first_instant_with_another_verdict(
    times: list[int], at_least: int, within: int | None, now: int
) -> None:
    verdict = did(leaf(at_least, within), newest(times, at_least), now)
    later = range(now + 1, HORIZON + 30)
    changes = [instant for instant in later if in_truth(times, at_least, within, instant) is not verdict.member]
    assert verdict.next_change_ms == (changes[0] if changes else NEVER)


@given(times=TIMES, at_least=AT_LEAST, within=WITHIN, now=st.integers(0, 30))
def test_with_times_still_to_come_nothing_changes_before_the_next_change(
    times: list[int], at_least: int, within: int | None, now: int
) -> None:
    state = newest(times, len(times))
    verdict = did(leaf(at_least, within), state, now)
    assert verdict.member is in_truth(times, at_least, within, now)
    for instant in range(now, min(verdict.next_change_ms, HORIZON)):
        assert in_truth(times, at_least, within, instant) is verdict.member


@given(times=TIMES, now=st.integers(0, HORIZON), at_least=AT_LEAST, within=WITHIN)
def test_following_next_changes_sees_every_change(times: list[int], now: int, at_least: int, within: int | None) -> None:
    state = newest(times, len(times))
    seen, instant = {}, now
    while instant < HORIZON:
        verdict = did(leaf(at_least, within), state, instant)
        assert verdict.next_change_ms > instant
        seen.update(dict.fromkeys(range(instant, min(verdict.next_change_ms, HORIZON)), verdict.member))
        instant = verdict.next_change_ms
    assert seen == {at: in_truth(times, at_least, within, at) for at in range(now, HORIZON)}


def test_a_window_is_open_at_its_start_and_closed_at_its_end() -> None:
    assert did(leaf(1, 10), [(100, "m")], 109) == Verdict(member=True, next_change_ms=110)
    assert did(leaf(1, 10), [(100, "m")], 110) == Verdict(member=False, next_change_ms=NEVER)
    assert did(leaf(1, 10), [(100, "m")], 100).member


@st.composite
def trees(draw: st.DrawFn, depth: int = 3) -> Any:
    """A condition over events a and b and the trait t."""
    kind = draw(st.sampled_from(["did", "trait"] if depth == 0 else ["did", "trait", "not", "all", "any"]))
    if kind == "did":
        window = {"within": f"{draw(st.integers(1, 20))}ms"} if draw(st.booleans()) else {}
        return {"did": {"event": draw(st.sampled_from(["a", "b"])), "at_least": draw(st.integers(1, 3)), **window}}
    if kind == "trait":
        return {"trait": {"path": "t", "value": draw(st.sampled_from(["x", 1]))}}
    if kind == "not":
        return {"not": draw(trees(depth - 1))}
    return {kind: draw(st.lists(trees(depth - 1), min_size=1, max_size=3))}


def member(tree: Any, times: dict[str, list[int]], traits: dict[str, Any], now: int) -> bool:
    """An evaluator that looks at the present alone."""
    if "did" in tree:
        spec = tree["did"]
        within = int(spec["within"].removesuffix("ms")) if "within" in spec else None
        return in_truth(times[spec["event"]], spec["at_least"], within, now)
    if "trait" in tree:
        return "t" in traits and type(traits["t"]) is type(tree["trait"]["value"]) and bool(traits["t"] == tree["trait"]["value"])
    if "not" in tree:
        return not member(tree["not"], times, traits, now)
    children = [member(child, times, traits, now) for child in tree.get("all", tree.get("any"))]
    return all(children) if "all" in tree else any(children)


@given(
    tree=trees(),
    times=st.fixed_dictionaries({"a": TIMES, "b": TIMES}),
    traits=st.sampled_from([{}, {"t": "x"}, {"t": 1}, {"t": "1"}]),
    now=st.integers(0, HORIZON),
)
def test_a_tree_is_right_now_and_until_its_next_change(
    tree: Any, times: dict[str, list[int]], traits: dict[str, Any], now: int
) -> None:
    plan = Plan([segment("s", tree)])
    leaves = {key: newest(times[event], 12) for event in ("a", "b") for key, _ in plan.leaves_of(event, {})}
    verdict = plan.evaluate(Facts(traits, leaves), now)["s"]
    for instant in (now, *range(now + 1, min(verdict.next_change_ms, HORIZON))):
        assert member(tree, times, traits, instant) is verdict.member


@given(tree=trees(), times=st.fixed_dictionaries({"a": TIMES, "b": TIMES}), now=st.integers(0, HORIZON))
def test_not_turns_the_verdict_and_keeps_the_next_change(tree: Any, times: dict[str, list[int]], now: int) -> None:
    plan = Plan([segment("s", tree), segment("opposite", {"not": tree})])
    leaves = {key: newest(times[event], 12) for event in ("a", "b") for key, _ in plan.leaves_of(event, {})}
    verdicts = plan.evaluate(Facts({}, leaves), now)
    assert verdicts["opposite"] == Verdict(not verdicts["s"].member, verdicts["s"].next_change_ms)


VIP = {"trait": {"path": "tier", "value": "vip"}}


@pytest.mark.parametrize("names", [("a", "b", "c"), ("c", "b", "a"), ("b", "c", "a")])
def test_a_segment_is_decided_after_those_that_it_names(names: tuple[str, str, str]) -> None:
    first, second, third = names
    plan = Plan([segment(third, {"in_segment": second}), segment(second, {"in_segment": first}), segment(first, VIP)])
    assert list(plan.segments) == [first, second, third]
    verdicts = plan.evaluate(Facts({"tier": "vip"}, {}), 0)
    assert [verdicts[name].member for name in names] == [True, True, True]


def test_the_next_change_reaches_through_in_segment() -> None:
    plan = Plan([segment("a", {"not": {"in_segment": "z"}}), segment("z", {"did": {"event": "e", "within": "10ms"}})])
    [(key, _)] = plan.leaves_of("e", {})
    assert plan.evaluate(Facts({}, {key: [(5, "m")]}), 6) == {
        "z": Verdict(member=True, next_change_ms=15), "a": Verdict(member=False, next_change_ms=15)
    }  # fmt: skip


def test_a_segment_that_is_not_defined_has_no_members() -> None:
    plan = Plan([segment("a", {"in_segment": "gone"}), segment("b", {"not": {"in_segment": "gone"}})])
    verdicts = plan.evaluate(Facts({}, {}), 0)
    assert (verdicts["a"].member, verdicts["b"].member) == (False, True)


def test_a_circle_is_refused_and_named() -> None:
    circle = [
        segment("a", {"in_segment": "b"}),
        segment("b", {"not": {"in_segment": "c"}}),
        segment("c", {"any": [{"in_segment": "a"}]}),
    ]
    with pytest.raises(CyclicSegments, match="a -> b -> c -> a"):
        Plan(circle)
    with pytest.raises(CyclicSegments, match="a -> a"):
        Plan([segment("a", {"in_segment": "a"})])


def condition(op: str, value: Any = None) -> Condition:
    return Condition.model_validate({"op": op} if value is None else {"op": op, "value": value})


OPS = ["eq", "ne", "lt", "lte", "gt", "gte", "in", "contains", "starts_with"]


@pytest.mark.parametrize("op", OPS)
def test_a_missing_value_makes_a_comparison_false_and_its_not_true(op: str) -> None:
    value: Any = ["x"] if op == "in" else "x"
    where = {"trait": {"path": "t", "op": op, "value": value}}
    verdicts = Plan([segment("is", where), segment("is-not", {"not": where})]).evaluate(Facts({}, {}), 0)
    assert (verdicts["is"].member, verdicts["is-not"].member) == (False, True)


@pytest.mark.parametrize(
    ("op", "operand", "value"),
    [
        ("eq", 1, "1"), ("eq", "1", 1), ("eq", 1, True), ("eq", True, 1), ("eq", True, "true"), ("eq", 0, False),
        ("eq", "x", ["x"]), ("lt", 5, "4"), ("lt", "5", 4), ("gte", 1, True), ("gt", 0, True), ("gt", False, True),
        ("lte", "x", ["x"]), ("in", [1, 2], "1"), ("in", ["1"], 1), ("in", [1], True), ("contains", "1", 1),
        ("contains", 1, "1"), ("contains", "1", [1]), ("starts_with", "1", 12), ("starts_with", 1, "12"),
        ("eq", "x", {"x": 1}),
    ],
)  # fmt: skip
def test_kinds_are_never_coerced(op: str, operand: Any, value: Any) -> None:
    assert holds(condition(op, operand), value) is False


@pytest.mark.parametrize(
    ("op", "operand", "value"),
    [
        ("eq", 1, 1.0), ("eq", True, True), ("ne", 1, "1"), ("ne", "x", "y"), ("lt", 2, 1.5), ("lte", 2, 2),
        ("gt", "a", "b"), ("gte", "b", "b"), ("in", ["x", 1], 1), ("contains", "ốc", "Phúc Lộc ốc"),
        ("contains", "x", ["y", "x"]), ("contains", 1, [1]), ("in", ["x", True], True), ("eq", 0.5, 0.5),
        ("starts_with", "Đà", "Đà Nẵng"), ("exists", True, 0), ("exists", None, ""), ("exists", False, None),
    ],
)  # fmt: skip
def test_equal_kinds_compare_by_value(op: str, operand: Any, value: Any) -> None:
    assert holds(condition(op, operand), value) is True


@given(
    left=st.one_of(st.none(), st.booleans(), st.integers(-2, 2), st.floats(-2, 2), st.text("ab", max_size=2)),
    op=st.sampled_from(OPS),
)
def test_every_condition_is_true_or_false(left: Any, op: str) -> None:
    for operand in ("a", 1, True, 0.5):
        assert holds(condition(op, [operand] if op == "in" else operand), left) in (True, False)


@pytest.mark.parametrize("op", ["eq", "in", "contains", "starts_with", "gte", "lte"])
@pytest.mark.parametrize(("held", "asked"), [("NFD", "NFC"), ("NFC", "NFD"), ("NFD", "NFD")])
def test_text_is_compared_in_one_unicode_form(op: str, held: Any, asked: Any) -> None:
    name = "Nguyễn Thị Ánh"
    operand: Any = unicodedata.normalize(asked, name)
    assert holds(condition(op, [operand] if op == "in" else operand), unicodedata.normalize(held, name))
    assert not holds(condition("ne", operand), unicodedata.normalize(held, name))


@pytest.mark.parametrize("value", [True, False, 1, 0, 1.5, "1", "true", [True, 1, "x", 0.5]])
def test_the_kind_of_an_operand_survives_reading_writing_and_reading(value: Any) -> None:
    where = {"trait": {"path": "t", "op": "in" if isinstance(value, list) else "eq", "value": value}}
    again = decode(encode(segment("s", where)), "test")
    assert isinstance(again, Segment)
    [node] = walk(again.spec.where)
    held = list(node.trait.value) if isinstance(value, list) else node.trait.value
    assert repr(held) == repr(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, {"a": 1}])
def test_an_operand_that_cannot_be_compared_is_refused(value: Any) -> None:
    with pytest.raises(BadDefinition):
        segment("s", {"trait": {"path": "t", "op": "eq", "value": value}})


def test_case_and_accents_matter() -> None:
    assert not holds(condition("eq", "hà nội"), "Hà Nội")
    assert not holds(condition("eq", "Ha Noi"), "Hà Nội")


def test_a_filtered_leaf_is_fed_by_fitting_events_only() -> None:
    where = [{"prop": "cart.total", "op": "gt", "value": 100}, {"prop": "city", "value": "Huế"}]
    plan = Plan([segment("s", {"did": {"event": "e", "where": where, "at_least": 2}})])
    assert [limit for _, limit in plan.leaves_of("e", {"cart": {"total": 101}, "city": "Huế"})] == [2]
    assert plan.leaves_of("e", {"cart": {"total": 100}, "city": "Huế"}) == []
    assert plan.leaves_of("e", {"cart": {"total": "101"}, "city": "Huế"}) == []
    assert plan.leaves_of("other", {"cart": {"total": 101}, "city": "Huế"}) == []


def test_leaves_over_the_same_events_share_a_state_of_the_largest_need() -> None:
    plan = Plan([
        segment("a", {"did": {"event": "e", "at_least": 2}}), segment("b", {"did": {"event": "e", "at_least": 5, "within": "1h"}})
    ])  # fmt: skip
    assert [limit for _, limit in plan.leaves_of("e", {})] == [5]


def test_a_dotted_path_is_the_whole_key_first() -> None:
    assert lookup({"a.b": 1, "a": {"b": 2}}, "a.b") == 1
    assert lookup({"a": {"b": {"c": 2}}}, "a.b.c") == 2
    assert lookup({"a": 1}, "a.b") is None


@given(
    st.lists(st.tuples(st.integers(0, 9), st.text("ab", max_size=1))),
    st.lists(st.tuples(st.integers(0, 9), st.text("ab", max_size=1))),
)
def test_keeping_the_newest_is_a_join(left: list[tuple[int, str]], right: list[tuple[int, str]]) -> None:
    whole = keep_newest([*left, *right], 3)
    assert keep_newest([*keep_newest(right, 3), *keep_newest(left, 3)], 3) == whole
    assert keep_newest([*whole, *whole], 3) == whole
