"""Leaves over calendars and clocks: anniversaries where the customer lives, regular periods; and a fixed part of all profiles."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.definitions.kinds import InvalidDefinition
from domain.segments.leaves.calendar import CalendarCondition, anniversary_in, local_midnight_ms
from domain.segments.leaves.leaf import LeafInputs
from domain.segments.profile_facts import ProfileFacts
from schemas.instants import DAY_MS, NEVER
from tests.support.segments import customer_event, evaluate_leaf, segment

HOUR = 3_600_000
SAIGON = "Asia/Saigon"


def ms(text: str) -> int:
    """Return the milliseconds of an ISO 8601 instant with a zone."""
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def birthday(now: str, born: Any, **leaf: Any) -> tuple[bool, str]:
    """Return whether the leaf holds, and when that changes (UTC)."""
    traits = {"born": born} | ({"timezone": leaf.pop("timezone")} if "timezone" in leaf else {})
    said = evaluate_leaf({"calendar": {"trait": "born", **leaf}}, [], ms(now), traits=traits)
    return (
        said.holds,
        "" if said.next_change_ms == NEVER else f"{datetime.fromtimestamp(said.next_change_ms / 1000, tz=UTC):%Y-%m-%dT%H:%M}",
    )


@pytest.mark.parametrize(
    ("now", "born", "leaf", "expected"),
    [
        ("2026-05-19T23:59:59.999+00:00", "1990-05-20", {}, (False, "2026-05-20T00:00")),
        ("2026-05-20T00:00:00+00:00", "1990-05-20", {}, (True, "2026-05-21T00:00")),
        ("2026-05-20T23:59:59.999+00:00", "1990-05-20", {}, (True, "2026-05-21T00:00")),
        ("2026-05-21T00:00:00+00:00", "1990-05-20", {}, (False, "2027-05-20T00:00")),
        ("2026-05-20T12:00:00+00:00", "1990-05-20T23:59:59-11:00", {}, (True, "2026-05-21T00:00")),
        # 29 February is kept on the 28th in other years.
        ("2024-02-28T12:00:00+00:00", "2000-02-29", {}, (False, "2024-02-29T00:00")),
        ("2024-02-29T12:00:00+00:00", "2000-02-29", {}, (True, "2024-03-01T00:00")),
        ("2026-02-28T12:00:00+00:00", "2000-02-29", {}, (True, "2026-03-01T00:00")),
        ("2026-03-01T00:00:00+00:00", "2000-02-29", {}, (False, "2027-02-28T00:00")),
        ("2100-02-28T12:00:00+00:00", "2000-02-29", {}, (True, "2100-03-01T00:00")),
        ("2023-03-01T12:00:00+00:00", "2000-02-29", {}, (False, "2024-02-29T00:00")),
        # The days about it may reach over the end of a year.
        ("2026-12-28T00:00:00+00:00", "1990-01-02", {"before": 5}, (True, "2026-12-29T00:00")),
        ("2026-12-28T00:00:00+00:00", "1990-01-02", {"before": 5, "days": 7}, (True, "2027-01-04T00:00")),
        ("2027-01-03T23:00:00+00:00", "1990-01-02", {"before": 5, "days": 7}, (True, "2027-01-04T00:00")),
        ("2027-01-04T00:00:00+00:00", "1990-01-02", {"before": 5, "days": 7}, (False, "2027-12-28T00:00")),
        ("2027-01-10T00:00:00+00:00", "1990-12-20", {"days": 30}, (True, "2027-01-19T00:00")),
        ("2026-12-31T12:00:00+00:00", "1990-01-05", {"before": 180}, (False, "2027-07-09T00:00")),
        ("2026-12-31T12:00:00+00:00", "1990-06-29", {"before": 180, "days": 180}, (True, "2027-06-29T00:00")),
        ("2027-03-01T12:00:00+00:00", "1990-09-10", {"days": 180}, (True, "2027-03-09T00:00")),
        # Where the customer lives.
        ("2026-05-19T16:59:59+00:00", "1990-05-20", {"zone": SAIGON}, (False, "2026-05-19T17:00")),
        ("2026-05-19T17:00:00+00:00", "1990-05-20", {"zone": SAIGON}, (True, "2026-05-20T17:00")),
        ("2026-05-19T17:00:00+00:00", "1990-05-20", {"timezone": SAIGON}, (True, "2026-05-20T17:00")),
        ("2026-05-19T17:00:00+00:00", "1990-05-20", {"zone": SAIGON, "timezone": "America/New_York"}, (False, "2026-05-20T04:00")),
        ("2026-05-19T17:00:00+00:00", "1990-05-20", {"zone": SAIGON, "timezone": "Sao/Hoa"}, (True, "2026-05-20T17:00")),
        ("2026-05-20T10:00:00+00:00", "1990-05-20", {"timezone": "Pacific/Kiritimati"}, (False, "2027-05-19T10:00")),
        # Clocks that skip midnight: the day begins at one o'clock.
        ("2018-11-04T02:59:59+00:00", "1990-11-04", {"zone": "America/Sao_Paulo"}, (False, "2018-11-04T03:00")),
        ("2018-11-04T03:00:00+00:00", "1990-11-04", {"zone": "America/Sao_Paulo"}, (True, "2018-11-05T02:00")),
        ("2018-02-17T02:00:00+00:00", "1990-02-17", {"zone": "America/Sao_Paulo"}, (True, "2018-02-18T03:00")),
        ("2024-04-25T21:59:59+00:00", "1990-04-26", {"zone": "Africa/Cairo"}, (False, "2024-04-25T22:00")),
        ("2024-04-25T22:00:00+00:00", "1990-04-26", {"zone": "Africa/Cairo"}, (True, "2024-04-26T21:00")),
        ("2024-10-31T12:00:00+00:00", "1990-10-31", {"zone": "Africa/Cairo"}, (True, "2024-10-31T22:00")),
    ],
)
def test_an_anniversary_by_the_customers_calendar(now: str, born: str, leaf: dict[str, Any], expected: tuple[bool, str]) -> None:
    assert birthday(now, born, **leaf) == expected


@pytest.mark.parametrize("born", [None, "", "20/05/1990", "1990-02-30", "1990-5-20", 19900520, True, ["1990-05-20"], "0000-01-01"])
def test_non_dates_have_no_anniversary(born: Any) -> None:
    assert birthday("2026-05-20T12:00:00+00:00", born) == (False, "")


ZONES = [SAIGON, "UTC", "America/Sao_Paulo", "Africa/Cairo", "America/New_York", "Pacific/Kiritimati", "Asia/Kathmandu"]


@settings(max_examples=60)
@given(
    born=st.dates(date(1990, 1, 1), date(2030, 12, 31)),
    before=st.integers(0, 180),
    days=st.integers(1, 180),
    today=st.dates(date(2017, 1, 1), date(2027, 12, 31)),
    hour=st.integers(0, 23),
    zone=st.sampled_from(ZONES),
)
def test_anniversaries_by_brute_force(born: date, before: int, days: int, today: date, hour: int, zone: str) -> None:
    now_ms = int(datetime(today.year, today.month, today.day, hour, 30, tzinfo=UTC).timestamp() * 1000)
    inside = set()
    for year in range(2015, 2031):
        start = anniversary_in(born, year) - timedelta(days=before)
        inside |= {start + timedelta(days=n) for n in range(days)}

    def in_truth(at_ms: int) -> bool:
        return datetime.fromtimestamp(at_ms / 1000, tz=ZoneInfo(zone)).date() in inside

    leaf = {"calendar": {"trait": "born", "before": before, "days": days, "zone": zone}}
    said = evaluate_leaf(leaf, [], now_ms, traits={"born": born.isoformat()})
    assert said.holds is in_truth(now_ms)
    assert now_ms < said.next_change_ms < now_ms + 367 * DAY_MS
    assert all(in_truth(at_ms) is said.holds for at_ms in range(now_ms, said.next_change_ms, 17 * HOUR))
    assert in_truth(said.next_change_ms - 1) is said.holds
    assert in_truth(said.next_change_ms) is not said.holds


@pytest.mark.parametrize("zone", ZONES)
def test_midnight_is_the_first_instant_of_a_day(zone: str) -> None:
    day = date(2018, 1, 1)
    while day < date(2019, 1, 1):
        at_ms, local = local_midnight_ms(day, ZoneInfo(zone)), ZoneInfo(zone)
        assert datetime.fromtimestamp(at_ms / 1000, tz=local).date() == day
        assert datetime.fromtimestamp((at_ms - 1) / 1000, tz=local).date() == day - timedelta(days=1)
        day += timedelta(days=1)


WEEK = 7 * DAY_MS
EVERY = {"event": "e", "every": "7d", "at_least": 2, "of": 3}


def regular(leaf: dict[str, Any], times: list[int], now_ms: int) -> tuple[bool, int]:
    said = evaluate_leaf({"regularly": EVERY | leaf}, [customer_event("e", at, id=str(n)) for n, at in enumerate(times)], now_ms)
    return said.holds, said.next_change_ms


@pytest.mark.parametrize(
    ("leaf", "times", "now_ms", "expected"),
    [
        ({}, [0, WEEK], 2 * WEEK, (True, 3 * WEEK)), ({}, [0, WEEK], 3 * WEEK - 1, (True, 3 * WEEK)),
        ({}, [0, WEEK], 3 * WEEK, (False, NEVER)), ({}, [0, 1, 2], 2 * WEEK, (False, NEVER)),
        ({}, [0, WEEK, 2 * WEEK], 2 * WEEK, (True, 4 * WEEK)), ({}, [0, 2 * WEEK], 2 * WEEK, (True, 3 * WEEK)),
        ({}, [WEEK - 1, WEEK], WEEK, (True, 3 * WEEK)), ({}, [0, WEEK - 1], WEEK, (False, NEVER)),
        ({"at_least": 1, "of": 1}, [0], WEEK - 1, (True, WEEK)), ({"at_least": 1, "of": 1}, [0], WEEK, (False, NEVER)),
        # Periods begin at midnight of the offset's clock.
        ({"every": "1d", "utc_offset": "+07:00"}, [17 * HOUR - 1, 17 * HOUR], 18 * HOUR, (True, 17 * HOUR + 2 * DAY_MS)),
        ({"every": "1d"}, [17 * HOUR - 1, 17 * HOUR], 18 * HOUR, (False, NEVER)),
        ({"every": "1d", "utc_offset": "-03:30"}, [7 * HOUR // 2 - 1, 7 * HOUR // 2], DAY_MS, (True, 7 * HOUR // 2 + 2 * DAY_MS)),
    ],
)  # fmt: skip
def test_regular_customers_by_periods(leaf: dict[str, Any], times: list[int], now_ms: int, expected: tuple[bool, int]) -> None:
    assert regular(leaf, times, now_ms) == expected
    assert regular(leaf, [*times[::-1], times[0]], now_ms) == expected


@given(
    times=st.lists(st.integers(0, 40), max_size=8),
    every=st.integers(1, 9),
    at_least=st.integers(1, 4),
    more=st.integers(0, 3),
    now=st.integers(40, 60),
)
def test_regularity_by_brute_force(times: list[int], every: int, at_least: int, more: int, now: int) -> None:
    def in_truth(instant: int) -> bool:
        return len({at // every for at in times if at // every > instant // every - at_least - more}) >= at_least

    holds, next_ms = regular({"every": f"{every}ms", "at_least": at_least, "of": at_least + more}, times, now)
    assert holds is in_truth(now)
    later = [instant for instant in range(now + 1, 160) if in_truth(instant) is not holds]
    assert next_ms == (later[0] if later else NEVER)


def test_a_part_of_all_profiles_is_stable_nested_and_as_large_as_asked() -> None:
    ids = [f"{number:032x}" for number in range(2_000)]

    def chosen(of: float, salt: str = "a") -> set[str]:
        return {one for one in ids if evaluate_leaf({"percent": {"of": of, "salt": salt}}, [], 0, profile_id=one).holds}

    ten = chosen(10)
    assert ten == chosen(10)
    assert ten <= chosen(20)
    assert 140 <= len(ten) <= 260
    assert ten != chosen(10, "b")
    assert chosen(100) == set(ids)
    assert len(chosen(0.01)) <= 3


def test_the_bucket_of_a_profile_never_changes() -> None:
    said = evaluate_leaf({"percent": {"of": 50, "salt": "thử nghiệm"}}, [], 0, profile_id="0" * 32)
    assert said.value == BUCKET
    assert said.holds == (BUCKET < 5_000)
    assert said.next_change_ms == NEVER


BUCKET = 3_171
"""The first 32 bits of the SHA-256 of `thử nghiệm:000…`, modulo 10,000."""


@pytest.mark.parametrize(
    "where",
    [
        {"calendar": {"trait": "born", "zone": "Mars/Olympus"}}, {"calendar": {"trait": "born", "days": 0}},
        {"calendar": {"trait": "born", "before": 181}}, {"regularly": EVERY | {"at_least": 4}},
        {"regularly": EVERY | {"every": "week"}},
        {"regularly": EVERY | {"utc_offset": "+7"}}, {"regularly": EVERY | {"of": 401}}, {"percent": {"of": 0, "salt": "a"}},
        {"percent": {"of": 101, "salt": "a"}}, {"percent": {"of": 5}},
    ],
)  # fmt: skip
def test_contradicting_definition_is_refused(where: Any) -> None:
    with pytest.raises(InvalidDefinition):
        segment("s", where)


@pytest.mark.parametrize(
    ("born", "displayed"),
    [
        ("15/06/1990", {"value": "15/06/1990", "is": "a text that is no date: a date begins like 1990-06-15"}),
        (1990, {"value": 1990, "is": "a value that is no date"}),
        (None, None),
    ],
)
def test_why_says_that_a_birthday_is_no_date(born: Any, displayed: Any) -> None:
    leaf = CalendarCondition.model_validate({"calendar": {"trait": "born"}})
    facts = ProfileFacts({} if born is None else {"born": born})
    assert leaf.displayed_value(leaf.evaluate(LeafInputs(), facts, DAY_MS), LeafInputs(), facts, DAY_MS) == displayed
