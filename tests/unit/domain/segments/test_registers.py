"""Registers are joins, bounded, and tallies add up: in whatever order and grouping."""

import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.definitions.segment_plan import segment_plan_of
from domain.segments.comparisons import PropertyComparison
from domain.segments.computed_traits import MAX_VALUES
from domain.segments.leaves.aggregate import MAX_DISTINCT
from domain.segments.plan import SegmentPlan
from domain.segments.registers import (
    AMOUNT_SCALE,
    HORIZON_SLACK_MS,
    MAX_AMOUNT,
    Entry,
    Register,
    TallyCount,
    amount_to_number,
    canonical_text,
    count_entry,
    parse_amount,
    parse_canonical,
    sum_tallies,
    tally_sum,
    to_millionths,
)
from schemas.hashes import text_hash
from tests.support.segments import computed, customer_event, segment

BOUND = 4
HUE = PropertyComparison.model_validate({"prop": "city", "value": "Huế"})
FORMS = {
    "newest": Register("e", (), "newest", capacity=BOUND),
    "newest with amounts": Register("e", (), "newest", "amount", ("x",), capacity=BOUND),
    "newest with keys": Register("e", (), "newest", "key", ("x", "y"), capacity=BOUND),
    "newest in a window": Register("e", (), "newest", capacity=BOUND, horizon_ms=6),
    "last": Register("e", (), "newest", "having", having=(HUE,)),
    "consent": Register("e", (), "newest", "consent", ("ads",)),
    "oldest": Register("e", (), "oldest"),
    "first value": Register("e", (), "oldest", "value", ("x",)),
    "newest of each": Register("e", (), "newest_of_each", "value", ("x",), capacity=BOUND),
    "newest of each in a window": Register("e", (), "newest_of_each", "value", ("x",), capacity=BOUND, horizon_ms=6),
    "periods": Register("e", (), "periods", capacity=BOUND, period_ms=3, offset_ms=1),
    "largest": Register("e", (), "largest", "amount", ("x",)),
    "smallest": Register("e", (), "smallest", "amount", ("x",)),
}
VALUES = st.one_of(
    st.sampled_from([1, 1.0, True, "1", 0, -0.0, False, "Huế", "Hue\u0302\u0301", None, [1], 0.1, -5, 10**15, 1e15, 2**60, ""]),
    st.integers(-3, 3),
)


REGISTER_KEYS = st.tuples(
    st.integers(0, 15), VALUES, st.sampled_from([1, "Huế", None]), st.sampled_from(["Huế", "Vinh"]), st.booleans()
)


def entries(register: Register) -> st.SearchStrategy[list[Entry]]:
    """Draw the entries that some messages add to the register."""

    def entry(number: int, said: tuple[int, Any, Any, str, bool]) -> Entry | None:
        at_ms, x, y, city, ads = said
        context = {"consent": {"categoryPreferences": {"ads": ads}}}
        one = customer_event("e", at_ms, {"x": x, "y": y, "city": city}, id=str(number), context=context)
        return register.entry(one, text_hash(str(number)))

    return st.lists(REGISTER_KEYS, max_size=12).map(
        lambda messages: [made for number, said in enumerate(messages) if (made := entry(number, said)) is not None]
    )


def groups(found: Sequence[Entry], rng: random.Random) -> list[list[Entry]]:
    """Divide the entries into some groups, each in random order; an entry may lie in several groups."""
    made: list[list[Entry]] = [[] for _ in range(rng.randint(1, 4))]
    for entry in found:
        for group in rng.sample(made, rng.randint(1, len(made))):
            group.append(entry)
    for group in made:
        rng.shuffle(group)
    return made


@pytest.mark.parametrize("name", FORMS)
@settings(max_examples=40)
@given(data=st.data(), rng=st.randoms(use_true_random=False))
def test_a_join_is_commutative_associative_and_idempotent(name: str, data: st.DataObject, rng: random.Random) -> None:
    register = FORMS[name]
    found = data.draw(entries(register))
    whole = register.join([found])
    parts = [register.join([group]) for group in groups(found, rng)]
    assert repr(register.join(parts)) == repr(whole)
    assert repr(register.join(parts[::-1])) == repr(whole)
    nested: list[Entry] = []
    for part in parts:
        nested = register.join([nested, part])
    assert repr(nested) == repr(whole)
    assert repr(register.join([whole, whole, []])) == repr(whole)


@pytest.mark.parametrize("name", FORMS)
@settings(max_examples=40)
@given(data=st.data(), rng=st.randoms(use_true_random=False))
def test_one_by_one_in_any_order_is_the_join_of_all(name: str, data: st.DataObject, rng: random.Random) -> None:
    register = FORMS[name]
    found = data.draw(entries(register))
    shuffled = [*found, *rng.choices(found, k=len(found))] if found else []
    rng.shuffle(shuffled)
    kept: Sequence[Entry] = ()
    for entry in shuffled:
        kept = register.add(kept, entry)
    assert repr(list(kept)) == repr(register.join([found]))


@pytest.mark.parametrize("name", FORMS)
@settings(max_examples=40)
@given(data=st.data())
def test_a_register_keeps_the_best_and_no_more_than_it_may(name: str, data: st.DataObject) -> None:
    register = FORMS[name]
    found = data.draw(entries(register))
    kept = register.join([found])
    each = register.form == "newest_of_each"
    largest: dict[Any, Entry] = {}
    for entry in sorted(found, key=lambda one: one[:2]):
        largest[entry[1] if each else entry[:2]] = entry
    ordered = sorted(largest.values(), key=lambda one: one[:2], reverse=register.form not in ("oldest", "smallest"))
    if register.horizon_ms is not None:
        ordered = [entry for entry in ordered if entry[0] > ordered[0][0] - register.horizon_ms]
    assert [entry[:2] for entry in kept] == [entry[:2] for entry in ordered][: register.capacity]
    assert len(kept) <= register.capacity


@given(data=st.data(), rng=st.randoms(use_true_random=False), within=st.integers(1, 6))
def test_entries_dropped_beyond_the_horizon_are_outside_every_window(data: st.DataObject, rng: random.Random, within: int) -> None:
    register = FORMS["newest in a window"].enlarged_for(Register("e", (), "newest", capacity=50))
    assert register.horizon_ms is None
    cut = Register("e", (), "newest", capacity=50, horizon_ms=6)
    found = data.draw(entries(register))
    newest = max((entry[0] for entry in found), default=0)
    for now in range(newest, newest + 10):
        inside = [entry for entry in register.join([found]) if now - within < entry[0] <= now]
        assert [entry for entry in cut.join(groups(found, rng)) if now - within < entry[0] <= now] == inside


@given(st.lists(st.tuples(st.integers(0, 10**13), VALUES), max_size=60))
def test_the_registers_of_leaves_outlive_their_window_by_an_hour(found: list[tuple[int, Any]]) -> None:
    plan = segment_plan_of([segment("s", {"did": {"event": "e", "at_least": 100, "within": "1d"}})])
    [register] = [one for one in plan.registers.values() if one.event == "e"]
    kept = register.join([[(at, text_hash(repr((n, at))), None) for n, (at, _) in enumerate(found)]])
    newest = max((at for at, _ in found), default=0)
    assert sorted(entry[0] for entry in kept) == sorted(at for at, _ in found if at > newest - 86_400_000 - HORIZON_SLACK_MS)


AMOUNTS = st.one_of(st.integers(-MAX_AMOUNT, MAX_AMOUNT), st.sampled_from([MAX_AMOUNT, -MAX_AMOUNT, 0, 1, -1]))


@given(st.lists(AMOUNTS, max_size=40), st.randoms(use_true_random=False))
def test_tallies_add_up_in_any_order_and_grouping(amounts: list[int], rng: random.Random) -> None:
    register = Register("e", (), "tally", "amount", ("x",))
    tallies: list[dict[str, TallyCount]] = [{} for _ in range(3)]
    for n, amount in enumerate(rng.sample(amounts, len(amounts))):
        entry = register.entry(customer_event("e", n, {"x": amount}), str(n))
        assert entry is not None
        count_entry(rng.choice(tallies), entry, register)
    total = sum_tallies(tallies, register)
    grouped = sum_tallies([sum_tallies(tallies[:2], register), tallies[2], {}], register)
    assert total == grouped == sum_tallies(tallies[::-1], register)
    if amounts:
        assert total[""][0] == len(amounts)
        assert tally_sum(total[""]) == sum(amounts) * AMOUNT_SCALE
    assert all(-(2**63) <= part < 2**63 for counted in total.values() for part in counted)


def test_a_sum_goes_beyond_64_bits() -> None:
    register = Register("e", (), "tally", "amount", ("x",))
    tally: dict[str, TallyCount] = {}
    for _ in range(1_000):
        count_entry(tally, (0, "", MAX_AMOUNT * AMOUNT_SCALE), register)
    total = sum_tallies([tally] * 1_000, register)
    assert tally_sum(total[""]) == 10**6 * MAX_AMOUNT * AMOUNT_SCALE > 2**64
    assert total[""][0] == 10**6
    assert all(part < 2**63 for part in total[""])
    assert tally_sum(sum_tallies([total, {"": (1, *divmod(-tally_sum(total[""]), 10**15))}], register)[""]) == 0


@given(st.one_of(st.text(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False)))
def test_a_canonical_text_stands_for_one_value(value: Any) -> None:
    text = canonical_text(value)
    assert text is not None
    again = parse_canonical(text)
    assert canonical_text(again) == text
    assert type(again) is type(value) or {type(again), type(value)} == {int, float}
    if isinstance(value, int | float):
        assert float(again) == float(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("Huế", "sHuế"), ("Hue\u0302\u0301", "sHuế"), ("", "s"), ("1", "s1"), (1, "n1"), (1.0, "n1"), (-0.0, "n0"), (0.1, "n0.1"),
        (True, "btrue"), (False, "bfalse"), (10**15, "n1000000000000000.0"), (-(10**14), "n-100000000000000"), (1e300, "n1e+300"),
        (None, None), ([1], None), ({}, None),
    ],
)  # fmt: skip
def test_the_canonical_text_names_the_kind_first(value: Any, text: str | None) -> None:
    assert canonical_text(value) == text


def test_one_value_spelled_in_two_ways_is_kept_as_one() -> None:
    for spellings in ([1, 1.0], ["Huế", "Hue\u0302\u0301"], [0, -0.0]):
        for form in (FORMS["newest of each"], FORMS["first value"], Register("e", (), "tally", "value", ("x",))):
            made = [form.entry(customer_event("e", 5, {"x": value}), "m") for value in spellings]
            assert repr(made[0]) == repr(made[1])


@pytest.mark.parametrize(
    ("one", "other"),
    [(("a\nsb", "c"), ("a", "b\nsc")), (("a", "b"), ("b", "a")), ((1, "1"), ("1", 1)), (("a\\", "nsb"), ("a\\\nsb", ""))],
)
def test_keys_of_two_properties_are_one_only_when_both_are(one: Any, other: Any) -> None:
    register = FORMS["newest with keys"]
    made = [register.entry(customer_event("e", 5, {"x": x, "y": y}), "m") for x, y in (one, other)]
    assert None not in made
    assert made[0] != made[1]


@pytest.mark.parametrize(
    ("value", "amount"),
    [
        (1, 1_000_000), (0.1, 100_000), (-2.5, -2_500_000), (0.000001, 1), (0.0000004, 0), (0, 0), (1e12, 10**18),
        (-1e12, -(10**18)), (1e12 + 1, None), (10**13, None),
        (576_460_752_305, 576_460_752_305_000_000), (576_460_752_305.5, 576_460_752_305_500_000),
        (999_999_999_999.75, 999_999_999_999_750_000),
        (True, None), ("5", None), (None, None), ([5], None),
    ],
)  # fmt: skip
def test_an_amount_is_a_number_in_whole_millionths(value: Any, amount: int | None) -> None:
    assert parse_amount(value) == amount
    if amount is not None and value != 0.0000004:
        assert amount_to_number(amount) == value
        assert to_millionths(value) == amount


BASE = {"event": "e", "where": (), "form": "newest", "extract": "value", "paths": ("x",)}


@pytest.mark.parametrize(
    "more",
    [
        {"event": "f"}, {"where": (HUE,)}, {"form": "oldest"}, {"extract": "amount"}, {"paths": ("y",)}, {"paths": ("x", "y")},
        {"having": (HUE,)}, {"period_ms": 5}, {"offset_ms": 5},
    ],
)  # fmt: skip
def test_registers_of_other_events_or_values_have_other_keys(more: dict[str, Any]) -> None:
    assert Register(**BASE | more).key != Register(**BASE).key  # type: ignore[arg-type]  # the fields' values


def test_conditions_of_another_kind_make_another_key() -> None:
    values: list[Any] = [1, True, "1"]
    conditions = [PropertyComparison.model_validate({"prop": "x", "value": value}) for value in values]
    conditions += [PropertyComparison.model_validate({"prop": "x", "value": "1", "fold": True})]
    conditions += [PropertyComparison.model_validate({"prop": "x", "op": "ne", "value": "1"})]
    assert len({Register("e", (one,), "newest").key for one in conditions}) == len(conditions)


def test_register_bound_does_not_change_its_key() -> None:
    small, large = Register(**BASE, capacity=2, horizon_ms=5), Register(**BASE, capacity=9, horizon_ms=50)  # type: ignore[arg-type]  # the fields' values
    assert small.key == large.key
    for both in (small.enlarged_for(large), large.enlarged_for(small)):
        assert both.capacity == 9
        assert both.horizon_ms == 50
        assert both.key == small.key
    assert small.enlarged_for(Register(**BASE)).horizon_ms is None  # type: ignore[arg-type]  # the fields' values


@pytest.mark.parametrize(
    ("where", "keeps"),
    [
        ({"did": {"event": "e"}}, [1]), ({"did": {"event": "e", "at_least": 7}}, [7]), ({"did": {"event": "e", "at_most": 7}}, [8]),
        ({"did": {"event": "e", "exactly": 0}}, [1]), ({"did": {"event": "e", "exactly": 1_000}}, [1_001]),
        ({"did_not": {"event": "e"}}, [1]), ({"first": {"event": "e"}}, [1]), ({"last": {"event": "e"}}, [1]),
        ({"aggregate": {"event": "e", "of": "sum", "prop": "x", "value": 1}}, [1]),
        ({"aggregate": {"event": "e", "of": "max", "prop": "x", "value": 1, "within": "1d", "keep": 40}}, [41]),
        ({"aggregate": {"event": "e", "of": "distinct", "prop": "x", "value": 1, "within": "1d"}}, [MAX_DISTINCT + 1]),
        ({"sequence": {"first": {"event": "e"}, "then": {"event": "f"}, "keep": 20}}, [21, 21]),
        ({"regularly": {"event": "e", "every": "7d", "at_least": 3, "of": 5}}, [5]),
        ({"subscribed": {"channel": "email"}}, [1]), ({"consent": {"purpose": "ads"}}, [1]),
        ({"trait": {"path": "t", "op": "exists"}}, []), ({"everyone": True}, []),
    ],
)  # fmt: skip
def test_the_bounds_are_known_before_any_event(where: Any, keeps: list[int]) -> None:
    bare = SegmentPlan()
    registers = [one for key, one in segment_plan_of([segment("s", where)]).registers.items() if key not in bare.registers]
    assert [register.capacity for register in registers] == keeps


@pytest.mark.parametrize(
    ("spec", "keep"),
    [
        ({"count": {"event": "e"}}, 1), ({"count": {"event": "e", "within": "1d", "keep": 7}}, 8),
        ({"unique": {"event": "e", "prop": "x"}}, MAX_VALUES + 1), ({"most_frequent": {"event": "e", "prop": "x", "keep": 9}}, 10),
        ({"most_frequent": {"event": "e", "prop": "x", "within": "1d", "keep": 9}}, 10), ({"last": {"event": "e", "prop": "x"}}, 1),
        ({"days_since": {"event": "e"}}, 1), ({"lifecycle": {"event": "e", "at_risk_after": "1d", "lost_after": "2d"}}, 5),
    ],
)  # fmt: skip
def test_computed_traits_are_bounded_too(spec: Any, keep: int) -> None:
    bare = SegmentPlan()
    registers = [one for key, one in segment_plan_of([computed("n", spec)]).registers.items() if key not in bare.registers]
    assert [register.capacity for register in registers] == [keep]
