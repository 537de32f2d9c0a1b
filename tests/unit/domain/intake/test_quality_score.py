"""The score of data quality: bounded, and never better for worse data."""

import math
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.intake.quality_score import STALE_MS, WEIGHTS, EventQuality, QualityParts, by_source, freshness, score, validity

SHARES = st.none() | st.floats(0, 1)
PARTS = st.builds(QualityParts, *(SHARES for _ in fields(QualityParts)))
COUNTS = st.integers(0, 10**9)


def test_the_weights_are_shares_of_a_hundred_and_name_every_part() -> None:
    assert sum(WEIGHTS.values()) == 100
    assert set(WEIGHTS) == {part.name for part in fields(QualityParts)}


@given(PARTS)
def test_a_score_is_between_nothing_and_a_hundred_or_unknown(parts: QualityParts) -> None:
    found = score(parts)
    if found is None:
        assert parts == QualityParts(None, None, None, None, None)
    else:
        assert -1e-9 <= found <= 100 + 1e-9


@given(PARTS, st.sampled_from(sorted(WEIGHTS)), st.floats(0, 1), st.floats(0, 1))
def test_no_part_that_gets_worse_raises_the_score(parts: QualityParts, name: str, one: float, other: float) -> None:
    worse, better = (score(replace(parts, **{name: value})) for value in sorted((one, other)))
    assert worse is not None
    assert better is not None
    assert worse <= better + 1e-9


@given(st.integers(1, 10**9), COUNTS, COUNTS, COUNTS)
def test_more_violations_and_more_quarantined_never_make_data_more_valid(stored: int, wrong: int, held: int, more: int) -> None:
    violating = min(wrong, stored)
    now = validity(stored, violating, held)
    assert now is not None
    assert 0 <= now <= 1
    assert (validity(stored, min(violating + more, stored), held) or 0) <= now
    assert (validity(stored, violating, held + more) or 0) <= now


def test_validity_of_no_events_is_unknown() -> None:
    assert validity(0, 0, 0) is None
    assert validity(0, 0, 1) == 0


@given(st.floats(0, 1e12), st.floats(0, 1e12))
def test_later_is_never_fresher(one_ms: float, other_ms: float) -> None:
    early, late = sorted((one_ms, other_ms))
    assert 0 <= freshness(late) <= freshness(early) <= 1


def test_a_minute_is_fresh_and_a_day_is_not() -> None:
    assert freshness(60_000) == 1
    assert freshness(STALE_MS) == 0
    assert freshness(math.sqrt(60_000 * STALE_MS)) == pytest.approx(0.5)


def test_a_source_is_the_mean_of_its_events_by_how_often_they_were_sent() -> None:
    def row(event: str, events: int, valid: float | None) -> EventQuality:
        return EventQuality(QualityParts(None, valid, None, None, None), "shop", event, events, 0, 0, 0, 0, 0, 0, 0)

    assert by_source([row("Xem", 3, 1.0), row("Đặt hàng", 1, 0.0), row("không biết", 5, None)]) == {"shop": 75}
