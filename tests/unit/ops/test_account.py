"""The account's arithmetic: it balances when nothing is lost, and only then."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.account import Account, Sides, add_up

QUIET = Sides(
    ends={0: 60, 1: 40},
    positions={0: 60, 1: 40},
    waiting=0,
    stored=85,
    booked_stored=95,
    messages=85,
    booked_suppressed=2,
    booked_quarantined=3,
    quarantined_of_events=3,
    quarantined_elsewhere=7,
)


def test_a_quiet_account_balances() -> None:
    assert add_up(QUIET) == Account(accepted=107, stored=85, duplicate=10, suppressed=2, quarantined=10, in_flight=0, balanced=True)


@pytest.mark.parametrize(
    "lost",
    [
        {"stored": 84},
        {"stored": 86},
        {"booked_stored": 94},
        {"booked_suppressed": 1},
        {"quarantined_of_events": 4},
        {"ends": {0: 61, 1: 40}, "positions": {0: 61, 1: 40}},
        {"ends": {0: 59, 1: 40}},
    ],
)
def test_whatever_is_lost_or_made_up_shows(lost: dict[str, object]) -> None:
    assert not add_up(replace(QUIET, **lost)).balanced  # type: ignore[arg-type]  # each is of its field's type


def test_what_has_not_arrived_is_in_flight_and_the_account_balances() -> None:
    moving = replace(QUIET, ends={0: 65, 1: 40, 2: 4}, waiting=2, quarantined_of_events=1)
    account = add_up(moving)
    assert account.in_flight == 5 + 4 + 2 + 2
    assert account.balanced


@given(st.lists(st.sampled_from(["stored", "duplicate", "suppressed", "quarantined", "elsewhere", "in_flight"])))
def test_any_mixture_of_ends_balances(ends: list[str]) -> None:
    count = {kind: ends.count(kind) for kind in set(ends)}
    stored = count.get("stored", 0)
    duplicate = count.get("duplicate", 0) if stored else 0
    consumed = stored + duplicate + count.get("suppressed", 0) + count.get("quarantined", 0)
    account = add_up(
        Sides(
            ends={0: consumed + count.get("in_flight", 0)},
            positions={0: consumed} if consumed else {},
            waiting=0,
            stored=stored,
            booked_stored=stored + duplicate,
            messages=stored,
            booked_suppressed=count.get("suppressed", 0),
            booked_quarantined=count.get("quarantined", 0),
            quarantined_of_events=count.get("quarantined", 0),
            quarantined_elsewhere=count.get("elsewhere", 0),
        )
    )
    assert account.balanced
    assert account.duplicate == duplicate
    assert account.in_flight == count.get("in_flight", 0)
