"""Accounted, on the shipped command: the account balances, with bad input and after every role was killed (kill -9)."""

import os
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.polling import eventually
from tests.support.shipped_command import Onefold

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
    answer = httpx.post(f"{url}/v1/batch", json={"batch": bad}, auth=(status["write_keys"]["default"], ""))
    assert answer.status_code == 200
    assert len(answer.json()["results"]) == 3
    account = onefold.wait_until_settled(before["accepted"] + 253)
    added = {name: account[name] - before[name] for name in account if name != "balanced"}
    assert added == {"accepted": 253, "stored": 200, "duplicate": 50, "suppressed": 0, "quarantined": 3, "in_flight": 0}
    assert account["balanced"]


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
