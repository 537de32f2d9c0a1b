"""Counts of values: exact up to a capacity, a sketch with the stated error beyond, and the same bytes in any order and grouping."""

import math
import random
from collections import Counter
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.segments.value_counts import (
    REMEMBERED_PER_CAPACITY,
    SKETCH_COLUMNS,
    SKETCH_ROWS,
    Cells,
    count_value,
    counts_of,
    events_counted,
    is_sketch,
    smallest_hash,
    sum_value_counts,
    uncount_value,
)
from schemas.hashes import text_hash

Occurrence = tuple[str, int]
CAPACITY = 4


def occurrences(values: Sequence[str], name: str = "") -> list[Occurrence]:
    """Return each value with the hash of its event."""
    return [(f"s{value}", smallest_hash(text_hash(f"{name}{number}"))) for number, value in enumerate(values)]


def counted(parts: Sequence[Sequence[Occurrence]], capacity: int) -> dict[str, Cells]:
    """Return the sum of tallies that counted these parts."""
    tallies: list[dict[str, Cells]] = []
    for part in parts:
        tally: dict[str, Cells] = {}
        for value, event_hash in part:
            count_value(tally, value, event_hash, capacity)
        tallies.append(tally)
    return sum_value_counts(tallies, capacity)


@given(st.lists(st.text("abcdefghijklmnop", min_size=1, max_size=1), max_size=60), st.randoms(use_true_random=False))
def test_any_order_and_any_grouping_give_the_same_bytes(values: list[str], rng: random.Random) -> None:
    events = occurrences(values)
    whole = counted([events], CAPACITY)
    shuffled = rng.sample(events, len(events))
    cuts = sorted(rng.randint(0, len(events)) for _ in range(2))
    parts = [shuffled[: cuts[0]], shuffled[cuts[0] : cuts[1]], shuffled[cuts[1] :]]
    encode = msgspec.msgpack.Encoder(order="deterministic").encode
    assert encode(counted(parts, CAPACITY)) == encode(whole)
    nested = sum_value_counts([counted(parts[:2], CAPACITY), counted(parts[2:], CAPACITY)], CAPACITY)
    assert encode(nested) == encode(whole)
    assert is_sketch(whole) is (len(set(values)) > CAPACITY)


@given(st.lists(st.text("abcd", min_size=1, max_size=1), max_size=60))
def test_up_to_the_capacity_each_value_is_counted(values: list[str]) -> None:
    tally = counted([occurrences(values)], CAPACITY)
    assert counts_of(tally) == {f"s{value}": times for value, times in Counter(values).items()}
    assert events_counted(tally) == len(values)


@pytest.mark.parametrize("different", [150, 600, 5_000])
def test_a_sketch_errs_by_no_more_than_its_bound(different: int) -> None:
    rng, capacity = random.Random(different), 100
    values = [
        str(min(int(rng.paretovariate(0.4)), different) if rng.random() < 0.3 else rng.randrange(different)) for _ in range(9_000)
    ]
    tally, exact = counted([occurrences(values)], capacity), Counter(f"s{value}" for value in values)
    estimates = counts_of(tally)
    assert is_sketch(tally)
    assert events_counted(tally) == len(values)
    assert all(estimate >= exact[value] for value, estimate in estimates.items())
    bound = math.e / SKETCH_COLUMNS * len(values)
    too_large = sum(estimate > exact[value] + bound for value, estimate in estimates.items())
    assert too_large <= math.exp(-SKETCH_ROWS) * len(estimates)
    favourite = exact.most_common(1)[0][0]
    assert max(estimates, key=lambda value: estimates[value]) == favourite


def test_a_sketch_has_a_bounded_size() -> None:
    tally = counted([occurrences([str(number) for number in range(5_000)])], 100)
    assert len(counts_of(tally)) == 100 * REMEMBERED_PER_CAPACITY
    assert len(tally) <= 100 * REMEMBERED_PER_CAPACITY + SKETCH_COLUMNS + 1


def test_a_frequent_value_is_remembered() -> None:
    missing = 0
    for household in range(100):
        rng = random.Random(household)
        values = ["favourite" if rng.random() < 0.05 else str(rng.randrange(2_000)) for _ in range(600)]
        missing += "sfavourite" not in counts_of(counted([occurrences(values, str(household))], 100))
    assert missing <= 1


@pytest.mark.parametrize("values", [["a", "b", "a"], list("abcdefga")])
def test_the_last_event_can_be_taken_back(values: list[str]) -> None:
    before, after = counted([occurrences(values[:-1])], CAPACITY), counted([occurrences(values)], CAPACITY)
    uncount_value(after, f"s{values[-1]}")
    assert counts_of(after) == counts_of(before)
    assert events_counted(after) == events_counted(before)
