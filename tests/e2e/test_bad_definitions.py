"""Records on `definitions` that cannot be read: nothing stops, every command works, and an operator finds and removes them."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from embedded.attach import settings_of_running
from runtime.bus.kafka import KafkaBus
from runtime.bus.port import Outgoing
from tests.support.polling import eventually
from tests.support.shipped_command import Onefold

pytestmark = [pytest.mark.stack, pytest.mark.e2e, pytest.mark.timeout(600)]

SEGMENT = """
apiVersion: onefold/v1
kind: Segment
metadata: {name: hong}
spec: {where: {did: {event: Hỏng}}}
"""
BAD = (
    (b"\xff\xfe\x1b[2J", b"{}"),
    (b"Segment/" + b"a" * 60_000, b"{}"),
    (b"Segment/hong", b"\xff nonsense"),
    (b"Segment/newer", b'{"apiVersion": "onefold/v2", "kind": "Segment"}'),
    (b"Destination/large", b'"' + b"x" * 2_000_000 + b'"'),
)


async def publish(onefold: Onefold) -> None:
    settings = settings_of_running(onefold.data_dir)
    async with KafkaBus(settings) as bus:
        producer = await bus.producer()
        await producer.send([Outgoing(settings.topic("definitions"), value, key) for key, value in BAD])
        await producer.aclose()


def bad_records(onefold: Onefold) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = onefold.json("definitions", "list", "--bad")["bad"]
    return listed


def test_records_that_cannot_be_read_stop_neither_processes_nor_commands(onefold: Onefold, tmp_path: Path) -> None:
    asyncio.run(publish(onefold))
    listed = bad_records(onefold)
    assert [record["key"] for record in listed] == [
        r"\xff\xfe\x1b[2J", "Segment/" + "a" * 72 + "… (60,008 bytes)", "Segment/hong", "Segment/newer", "Destination/large",
    ]  # fmt: skip
    assert all(record["reason"] for record in listed)
    # New processes read them at their start.
    for role in ("streams", "collector"):
        os.kill(onefold.pid(role), signal.SIGKILL)
    eventually(onefold.status, lambda state: state["ready"], 120)
    onefold.send([{"type": "track", "event": "Hỏng", "userId": "hong-1", "messageId": "hong-1"}])
    file = tmp_path / "segment.yaml"
    file.write_text(SEGMENT, encoding="utf-8")
    assert onefold.json("plan", str(file))["changes"] == {"Segment/hong": "create"}
    onefold.run("apply", str(file))
    assert [record["key"] for record in bad_records(onefold)].count("Segment/hong") == 0
    onefold.run("remove", "Segment/hong")
    onefold.run("remove", "Segment/newer")
    offsets = [str(record["offset"]) for record in bad_records(onefold)]
    assert len(offsets) == 3
    onefold.run("definitions", "remove", "--key", r"\xff\xfe\x1b[2J", "--bad", offsets[1], "--bad", offsets[2])
    assert onefold.run("definitions", "list", "--bad").stdout == "every record can be read\n"
    assert "Source/default" in onefold.run("definitions", "list").stdout
