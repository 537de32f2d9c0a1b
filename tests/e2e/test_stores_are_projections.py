"""Stores are projections, on the shipped command: a rebuilt Redis equals the old one."""

from pathlib import Path

import pytest

from tests.support.shipped_command import running_onefold

pytestmark = [pytest.mark.stack, pytest.mark.e2e]


def test_rebuild_gives_the_hash_of_before_and_goes_on(tmp_path: Path) -> None:
    with running_onefold(tmp_path) as onefold:
        calls = [
            {
                "type": "track",
                "event": "Product Viewed",
                "messageId": f"m{n}",
                "anonymousId": f"cookie-{n % 40}",
                **({"userId": f"u{n % 20}"} if n % 3 == 0 else {}),
            }
            for n in range(500)
        ]
        onefold.send(calls)
        assert onefold.wait_until_settled(500)["balanced"]
        before = onefold.wait_until_verified()
        onefold.run("rebuild", "profiles")
        assert onefold.wait_until_verified()["redis"] == before["redis"]
        onefold.send([{**calls[0], "messageId": "after"}, calls[1]])
        account = onefold.wait_until_settled(502)
        assert account["stored"] == 501
        assert account["balanced"]
        assert onefold.wait_until_verified()["redis"] != before["redis"]
