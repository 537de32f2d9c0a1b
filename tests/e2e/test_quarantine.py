"""Quarantine on the shipped command: bad events come in, are mended by a rule, sent again, and the account adds up throughout."""

from pathlib import Path

import httpx
import pytest

from tests.support.polling import eventually
from tests.support.shipped_command import running_onefold

pytestmark = [pytest.mark.stack, pytest.mark.e2e]


def test_fixed_records_are_stored_once_and_the_account_balances(tmp_path: Path) -> None:
    with running_onefold(tmp_path) as onefold:
        onefold.send([{"type": "track", "event": "Xem hàng", "userId": "u1", "messageId": "good"}])
        status = onefold.status()
        url, key = status["addresses"]["collector"], status["write_keys"]["server"]
        url = url if url.startswith("http") else f"http://{url}"
        bad = [{"type": "track", "userId": f"khách-{n}", "messageId": f"bad-{n}"} for n in range(5)]
        assert httpx.post(f"{url}/v1/batch", json={"batch": bad}, auth=(key, ""), timeout=20).json()["results"]
        before = onefold.wait_until_settled(6)
        assert before["stored"] == 1
        assert before["quarantined"] == 5
        assert before["balanced"] is True
        listed = onefold.json("quarantine", "list")
        assert {entry["reason"] for entry in listed} == {"missing_field"}
        assert onefold.run("quarantine", "replay", check=False).returncode == 1
        assert onefold.json("account") == before

        first = listed[0]["id"]
        onefold.run("quarantine", "discard", first, "--because", "thử nghiệm", "--by", "Ánh")
        eventually(lambda: onefold.json("quarantine", "list"), lambda left: len(left) == 4)
        mend = ("quarantine", "fix", "--reason", "missing_field", "--set", "event=Đặt hàng")
        assert "4 would be sent" in onefold.run(*mend, "--dry-run").stdout
        onefold.run(*mend)
        after = eventually(onefold.account, lambda a: a["stored"] == 5 and a["quarantined"] == 1 and a["in_flight"] == 0)
        assert after["accepted"] == 6
        assert after["balanced"] is True
        states = {entry["id"]: entry["state"] for entry in onefold.json("quarantine", "list", "--state", "all")}
        assert sorted(states.values()) == ["discarded", *["replayed"] * 4]
        assert "Đặt hàng" in onefold.run("sql", "SELECT DISTINCT name FROM events").stdout

        onefold.run(*mend)
        assert onefold.wait_until_settled(6) == after
        assert onefold.json("quarantine", "show", first)["because"] == "thử nghiệm"
