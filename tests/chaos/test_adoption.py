"""Kafka's directory lost, on the shipped command: refused with a sentence, adopted, and everything goes on."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.polling import eventually
from tests.support.shipped_command import Onefold, running_onefold

pytestmark = [
    pytest.mark.stack,
    pytest.mark.e2e,
    pytest.mark.timeout(900),
    pytest.mark.skipif("ONEFOLD_CHAOS_ROUNDS" not in os.environ, reason="`make chaos` starts a whole stack twice"),
]

SEGMENT = """
apiVersion: onefold/v1
kind: Segment
metadata: {name: khach-quen}
spec: {where: {did: {event: Đặt hàng, at_least: 3}}}
"""
MEMBERS = "SELECT count() FROM memberships WHERE segment = 'khach-quen'"


def orders(number: int) -> list[dict[str, Any]]:
    return [
        {
            "type": "track",
            "event": "Đặt hàng",
            "userId": f"KH-{who}",
            "anonymousId": f"c{who}-{number}",
            "messageId": f"m{number}-{who}",
            "properties": {"total": 100_000},
        }
        for who in range(30)
    ]


def members(onefold: Onefold) -> int:
    return int(onefold.rows(MEMBERS)[0][0])


def test_a_lost_log_is_refused_until_it_is_adopted_and_then_known_customers_count_on(tmp_path: Path) -> None:
    data_dir, file = tmp_path / "data", tmp_path / "segment.yaml"
    file.write_text(SEGMENT, encoding="utf-8")
    with running_onefold(data_dir) as onefold:
        onefold.run("apply", str(file))
        onefold.send(orders(1))
        onefold.send(orders(2))
        onefold.wait_until_settled(60)
        onefold.wait_until_verified()
        # ClickHouse has the definitions a moment after the topic.
        eventually(lambda: int(onefold.rows("SELECT count() FROM definition_store FINAL")[0][0]), lambda count: count >= 2)

    shutil.rmtree(data_dir / "kafka" / "data")
    onefold = Onefold(data_dir)
    try:
        refused = onefold.run("up", "--detach", check=False)
        assert refused.returncode == 1
        assert "onefold adopt" in refused.stderr
        state = onefold.status()
        assert not state["ready"]
        assert any("its cluster is another one" in sentence for sentence in state["waits"])
        assert "onefold adopt" in onefold.run("account", check=False).stderr

        adoption = onefold.json("adopt")
        assert (adoption["epoch"], adoption["profiles"], adoption["stores_differ"]) == (1, 30, False)
        eventually(onefold.status, lambda state: state["ready"], 180)
        listed = {entry["key"] for entry in onefold.json("definitions", "list")["definitions"]}
        assert listed >= {"Segment/khach-quen", "Source/default"}
        onefold.send(orders(3))
        account = onefold.wait_until_settled(90)
        assert account["balanced"]
        assert account["stored"] == 90
        eventually(lambda: members(onefold), lambda count: count == 30)
        onefold.wait_until_verified()
        assert onefold.json("adopt") is None
    finally:
        onefold.run("down", check=False)
