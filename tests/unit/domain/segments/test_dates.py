from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.instants import InstantReading, instant_ms
from domain.segments.comparisons import Comparison, holds
from domain.segments.dates import date_problem, parse_instant
from domain.segments.leaves.leaf import LeafInputs
from domain.segments.leaves.trait import TraitCondition
from domain.segments.profile_facts import ProfileFacts
from schemas.instants import DAY_MS

HANOI = "Asia/Ho_Chi_Minh"
MIDNIGHT = 1_749_920_400_000  # 2025-06-15T00:00:00+07:00


@pytest.mark.parametrize(
    ("value", "zone", "at_ms"),
    [
        ("2025-06-15", HANOI, MIDNIGHT), ("2025/06/15", HANOI, MIDNIGHT),
        ("2025-06-15 14:30", HANOI, MIDNIGHT + 14 * 3_600_000 + 1_800_000),
        ("2025-06-15T00:00:00+07:00", None, MIDNIGHT), ("2025-06-15 00:00:00 +0700", None, MIDNIGHT),
        ("2025/06/14 17:00 UTC", None, MIDNIGHT), ("2025-06-14T17:00:00GMT", HANOI, MIDNIGHT),
        ("2025-06-15", None, MIDNIGHT + 7 * 3_600_000),
        ("2025-06-15 14:30", None, None), ("2025-06/15", HANOI, None), ("15/06/2025", HANOI, None), (MIDNIGHT, HANOI, None),
        ("9999-12-31", HANOI, None), ("1899-12-31", None, None),
    ],
)  # fmt: skip
def test_a_date_is_read_in_the_conditions_zone(value: Any, zone: str | None, at_ms: int | None) -> None:
    assert parse_instant(value, zone) == at_ms


@given(
    st.from_regex(
        r"\A(19[7-9][0-9]|20[0-9]{2})[-/](0[1-9]|1[0-2])[-/](0[1-9]|[12][0-9]|3[01])"
        r"([T ][0-2][0-9]:[0-5][0-9]( ?(Z|UTC|[+-]0[0-9]:?30))?)?\Z"
    ),
    st.sampled_from([HANOI, "America/New_York"]),
)
def test_conditions_read_what_the_reader_of_all_instants_reads(text: str, zone: str) -> None:
    at_ms = parse_instant(text, zone)
    if at_ms is not None and at_ms >= 0:
        assert at_ms == instant_ms(text, InstantReading(ZoneInfo(zone)))


def test_a_plain_date_begins_at_the_midnight_of_the_zone() -> None:
    facts = ProfileFacts({"renewal": "2025-06-15"})
    leaf = TraitCondition.model_validate({"trait": {"path": "renewal", "op": "more_than_ago", "value": "1ms", "zone": HANOI}})
    assert not leaf.evaluate(LeafInputs(), facts, MIDNIGHT).holds
    assert leaf.evaluate(LeafInputs(), facts, MIDNIGHT).next_change_ms == MIDNIGHT + 1
    assert leaf.evaluate(LeafInputs(), facts, MIDNIGHT + 1).holds
    before = Comparison.model_validate({"op": "before", "value": "2025-06-15", "zone": HANOI})
    assert holds(before, "2025-06-14 23:59")
    assert not holds(before, "2025-06-15 00:00")
    assert leaf.expectation() == f"more than this ago: 1ms in the zone {HANOI}"


@pytest.mark.parametrize(
    "document",
    [
        {"op": "eq", "value": "x", "zone": HANOI},
        {"op": "before", "value": "2025-06-15", "zone": "Mars"},
        {"op": "exists", "zone": HANOI},
    ],
)
def test_a_zone_goes_with_dates_and_exists(document: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="zone"):
        TraitCondition.model_validate({"trait": {"path": "renewal", **document}})


def test_a_definition_without_a_zone_dumps_as_it_did_before_there_were_zones() -> None:
    assert "zone" not in TraitCondition.model_validate({"trait": {"path": "a", "value": 1}}).model_dump(mode="json")["trait"]
    assert "zone" not in Comparison.model_validate({"op": "before", "value": "2025-06-15"}).model_dump(mode="json")


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("2025-06-15", ""), ("mùa thu", "a text that is no date"), ("15/06/2025", "a text that is no date as conditions read it"),
        ("9999-12-31", "a date outside of the years 1900 to 2299"), (1_750_000_000, "a number that is no date"),
        ([1], "a value that"),
        ("2025-06-15 14:30", "a time without a zone"), ("2025-02-30", "a text that is no date"),
    ],
)  # fmt: skip
def test_why_says_what_is_no_date(value: Any, problem: str) -> None:
    assert date_problem(value).startswith(problem)
    assert bool(date_problem(value)) == bool(problem)
    leaf = TraitCondition.model_validate({"trait": {"path": "renewal", "op": "within_last", "value": "7d"}})
    facts = ProfileFacts({"renewal": value})
    displayed = leaf.displayed_value(leaf.evaluate(LeafInputs(), facts, DAY_MS), LeafInputs(), facts, DAY_MS)
    assert displayed == ({"value": value, "is": date_problem(value)} if problem else value)
