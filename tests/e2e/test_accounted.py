"""Accounted, on the shipped command: the account balances, with bad input and after every role was killed (kill -9)."""

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest

from embedded.attach import settings_of_running
from tests.support.polling import eventually
from tests.support.shipped_command import Onefold
from tests.support.transactions import write_transaction

pytestmark = [pytest.mark.stack, pytest.mark.e2e]
ORDER = "Đơn hàng được tính"
"""An event that no other test on this stack sends."""
ROLES = ("collector", "streams", "consumers")


def calls(prefix: str, count: int) -> list[dict[str, Any]]:
    return [
        {
            "type": "track",
            "messageId": f"{prefix}-{n}",
            "userId": f"khách-{n % 17}",
            "event": ORDER,
            "properties": {"total": n},
        }
        for n in range(count)
    ]


def counted_orders(onefold: Onefold) -> int:
    """Add up the orders over all profiles."""
    [[total]] = onefold.rows("SELECT sum(counters['Đơn hàng được tính']) FROM profiles")
    return int(float(total))


def test_every_event_is_accounted_for_by_its_end(onefold: Onefold) -> None:
    before = onefold.wait_until_settled(0)
    onefold.send(calls("a", 200))
    onefold.send(calls("a", 50))
    status = onefold.status()
    address = status["addresses"]["collector"]
    url = address if address.startswith("http") else f"http://{address}"
    bad = [
        {"type": "track", "event": "Nobody"},
        {"type": "dance", "userId": "u1"},
        {"type": "track", "userId": "null", "event": "X"},
    ]
    answer = httpx.post(f"{url}/v1/batch", json={"batch": bad}, auth=(status["write_keys"]["server"], ""))
    assert answer.status_code == 200
    assert len(answer.json()["results"]) == 3
    account = onefold.wait_until_settled(before["accepted"] + 253)
    added = {name: account[name] - before[name] for name in account if name != "balanced"}
    assert added == {"accepted": 253, "stored": 200, "duplicate": 50, "suppressed": 0, "quarantined": 3, "in_flight": 0}
    assert account["balanced"]


def test_touchpoints_of_aborted_transactions_are_no_events_and_markers_are_not_in_flight(onefold: Onefold) -> None:
    before = onefold.wait_until_settled(0)
    settings = settings_of_running(onefold.data_dir)
    for number, commit in enumerate((True, False, True, False)):
        touchpoints = [json.dumps({**call, "event": "Giao dịch"}).encode() for call in calls(f"t{number}", 3)]
        asyncio.run(write_transaction(settings, "onefold.touchpoints", touchpoints, commit=commit))
    account = onefold.wait_until_settled(before["accepted"] + 6)
    added = {name: account[name] - before[name] for name in account if name != "balanced"}
    assert added == {"accepted": 6, "stored": 6, "duplicate": 0, "suppressed": 0, "quarantined": 0, "in_flight": 0}
    assert account["balanced"]
    ids = {row[0] for row in onefold.rows("SELECT id FROM events_now WHERE name = 'Giao dịch'")}
    assert ids == {f"t{number}-{n}" for number in (0, 2) for n in range(3)}


def test_calls_with_a_withheld_number_are_stored_as_nobodys_and_no_profile_changes(onefold: Onefold) -> None:
    before, profiles = onefold.wait_until_settled(0), onefold.rows("SELECT count() FROM profiles")
    numbers = ("anonymous", "+266696687", "", None)
    withheld = [
        {"type": kind, "call_id": f"ẩn-{n}", "caller_number": number, **({"talk_seconds": 60} if kind == "call_ended" else {})}
        for n, number in enumerate(numbers)
        for kind in ("call_started", "call_ended")
    ]
    onefold.send(withheld)
    onefold.send(withheld)
    account = onefold.wait_until_settled(before["accepted"] + 16)
    added = {name: account[name] - before[name] for name in account if name != "balanced"}
    assert added == {"accepted": 16, "stored": 8, "duplicate": 8, "suppressed": 0, "quarantined": 0, "in_flight": 0}
    assert account["balanced"]
    for view in ("events", "events_now"):
        assert onefold.rows(
            f"SELECT count(), sum(JSONExtractInt(properties, 'talk_seconds')) FROM {view} "  # noqa: S608 - a view's name
            "WHERE profile_id = '' AND startsWith(JSONExtractString(properties, 'call_id'), 'ẩn-')"
        ) == [["8", "240"]]
    assert onefold.wait_until_verified()["agree"]
    assert onefold.rows("SELECT count() FROM profiles") == profiles


def test_rows_that_clickhouse_has_lost_are_read_again_from_kafka(onefold: Onefold) -> None:
    before = onefold.wait_until_settled(0)
    onefold.send(calls("lost", 40))
    onefold.wait_until_settled(before["accepted"] + 40)
    url = settings_of_running(onefold.data_dir).clickhouse_url.get_secret_value()
    database = {"database": "onefold"}
    for loss in ("DELETE FROM event_store WHERE id IN ('lost-3', 'lost-7')", "DELETE FROM ledger WHERE offset % 3 = 0"):
        httpx.post(url, params=database, content=loss, timeout=60).raise_for_status()
    assert not onefold.account()["balanced"]
    repaired = onefold.json("account", "--repair")
    assert repaired["balanced"]
    assert repaired["stored"] == before["stored"] + 40
    assert repaired["repair"]["repaired"] > 2
    assert repaired["repair"]["lost"] == 0
    assert onefold.wait_until_verified()["agree"]


def test_the_account_balances_after_every_role_was_killed(onefold: Onefold) -> None:
    before, orders_before = onefold.wait_until_settled(0), counted_orders(onefold)
    for round_number, role in enumerate(ROLES):
        onefold.send(calls(f"k{round_number}", 300))
        os.kill(onefold.pid(role), signal.SIGKILL)
        onefold.send(calls(f"l{round_number}", 300))
        eventually(lambda: onefold.json("status", check=False)["ready"], bool)
    account = onefold.wait_until_settled(before["accepted"] + 1800)
    assert account["balanced"]
    assert account["stored"] == before["stored"] + 1800
    assert counted_orders(onefold) == orders_before + 1800
    assert onefold.wait_until_verified()["agree"]


def test_a_second_up_on_the_directory_is_refused(onefold: Onefold, tmp_path: Path) -> None:
    result = onefold.run("up", "--detach", check=False)
    assert result.returncode == 1
    assert "onefold down" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert Onefold(tmp_path).run("status", check=False).returncode == 1
