"""Law 1 on the shipped command: the account balances, with bad input and after kill -9 of every role."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.shipped_command import Onefold, eventually, running_onefold

pytestmark = [pytest.mark.stack, pytest.mark.e2e]
ROLES = ("collector", "streams", "consumers")


@pytest.fixture(scope="module")
def onefold(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Onefold]:
    with running_onefold(tmp_path_factory.mktemp("accounted")) as running:
        yield running


def calls(prefix: str, count: int) -> list[dict[str, Any]]:
    return [
        {
            "type": "track",
            "messageId": f"{prefix}-{n}",
            "userId": f"khách-{n % 17}",
            "event": "Order Completed",
            "properties": {"total": n},
        }
        for n in range(count)
    ]


def test_every_event_is_accounted_for_by_its_end(onefold: Onefold) -> None:
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
    account = onefold.wait_until_settled(253)
    assert account == {
        "accepted": 253, "stored": 200, "duplicate": 50, "suppressed": 0, "quarantined": 3, "in_flight": 0, "balanced": True,
    }  # fmt: skip


def test_the_account_balances_after_every_role_was_killed(onefold: Onefold) -> None:
    before = onefold.wait_until_settled(0)
    for round_number, role in enumerate(ROLES):
        onefold.send(calls(f"k{round_number}", 300))
        os.kill(onefold.pid(role), signal.SIGKILL)
        onefold.send(calls(f"l{round_number}", 300))
        eventually(lambda: onefold.json("status", check=False)["ready"], bool)
    account = onefold.wait_until_settled(before["accepted"] + 1800)
    assert account["balanced"]
    assert account["stored"] == before["stored"] + 1800
    total = onefold.rows("SELECT sum(counters['Order Completed']) FROM profiles")
    assert int(float(total[0][0])) == account["stored"]
    assert onefold.wait_until_verified()["agree"]


def test_a_second_up_on_the_directory_is_refused(onefold: Onefold, tmp_path: Path) -> None:
    result = onefold.run("up", "--detach", check=False)
    assert result.returncode == 1
    assert "onefold down" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert Onefold(tmp_path).run("status", check=False).returncode == 1
