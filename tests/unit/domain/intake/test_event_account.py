"""The account's arithmetic: it balances when nothing is lost, and only then."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.intake.event_account import AccountInputs, EventAccount, add_up

QUIET = AccountInputs(
    end_offsets={0: 60, 1: 40},
    positions={0: 60, 1: 40},
    unread_records=0,
    stored=85,
    ledger_stored=95,
    ledger_messages=85,
    ledger_suppressed=2,
    ledger_quarantined=3,
    quarantined_from_events=3,
    quarantined_elsewhere=7,
)


def test_a_quiet_account_balances() -> None:
    assert add_up(QUIET) == EventAccount(
        accepted=107, stored=85, duplicate=10, suppressed=2, quarantined=10, in_flight=0, balanced=True
    )


@pytest.mark.parametrize(
    "lost",
    [
        {"stored": 84},
        {"stored": 86},
        {"ledger_stored": 94},
        {"ledger_suppressed": 1},
        {"quarantined_from_events": 4},
        {"end_offsets": {0: 61, 1: 40}, "positions": {0: 61, 1: 40}},
        {"end_offsets": {0: 59, 1: 40}},
    ],
)
def test_whatever_is_lost_or_made_up_shows(lost: dict[str, object]) -> None:
    assert not add_up(replace(QUIET, **lost)).balanced  # type: ignore[arg-type]  # each is of its field's type


def test_what_has_not_arrived_is_in_flight_and_the_account_balances() -> None:
    moving = replace(QUIET, end_offsets={0: 65, 1: 40, 2: 4}, unread_records=2, quarantined_from_events=1)
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
        AccountInputs(
            end_offsets={0: consumed + count.get("in_flight", 0)},
            positions={0: consumed} if consumed else {},
            unread_records=0,
            stored=stored,
            ledger_stored=stored + duplicate,
            ledger_messages=stored,
            ledger_suppressed=count.get("suppressed", 0),
            ledger_quarantined=count.get("quarantined", 0),
            quarantined_from_events=count.get("quarantined", 0),
            quarantined_elsewhere=count.get("elsewhere", 0),
        )
    )
    assert account.balanced
    assert account.duplicate == duplicate
    assert account.in_flight == count.get("in_flight", 0)


def test_what_the_ledger_has_of_a_lost_log_counts_beside_the_log_that_took_its_place() -> None:
    first = 2**44
    ends = {partition: end - 30 + first for partition, end in QUIET.end_offsets.items()}
    later = replace(QUIET, end_offsets=ends, positions=ends, first_offset=first, ledger_earlier=60)
    assert add_up(later) == add_up(QUIET)
    # The positions of the lost log say nothing about the new one: its 40 records wait.
    assert add_up(replace(later, positions=QUIET.positions)).in_flight == 40


def test_what_is_missing_after_a_log_was_replaced_shows() -> None:
    first = 2**44
    later = replace(QUIET, end_offsets={0: first + 41}, positions={0: first + 41}, first_offset=first, ledger_earlier=60)
    assert not add_up(later).balanced
