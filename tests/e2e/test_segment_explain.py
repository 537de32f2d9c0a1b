"""Segments asked about on the shipped command: why, why not, and whether stream and SQL agree, before and after a fault."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from embedded.attach import settings_of_running
from profile_store.connect import open_store
from runtime.clock import SystemClock
from tests.support.polling import eventually
from tests.support.shipped_command import Onefold
from tests.support.verify_world import tamper

pytestmark = [pytest.mark.stack, pytest.mark.e2e, pytest.mark.timeout(600)]

DEFINITIONS = """
apiVersion: onefold/v1
kind: Segment
metadata: {name: bo-quen-gio}
spec:
  where:
    all:
      - did: {event: Thêm vào giỏ, within: 1d}
      - did_not: {event: Đặt hàng, within: 1d}
"""
ÁNH, BÌNH = "user_id:ánh", "user_id:bình"


def track_call(user: str, name: str, number: str) -> dict[str, Any]:
    return {"type": "track", "event": name, "userId": user, "messageId": number}


def why(onefold: Onefold, profile: str) -> Any:
    """Ask until the stream and ClickHouse have processed everything, and return the answer."""

    def read_answer() -> Any:
        return onefold.json("segments", "why", profile, "bo-quen-gio")

    def arrived(answer: Any) -> bool:
        told = [event for node in answer["tree"]["inside"] for group in node["events"] for event in group["shown"]]
        return bool(answer["agrees"] and answer["evaluated"] and answer["transition"] and all("id" in event for event in told))

    return eventually(read_answer, arrived)


async def break_membership(onefold: Onefold, profile_id: str) -> None:
    store = open_store(settings_of_running(onefold.data_dir), SystemClock())
    try:
        await tamper(store, profile_id, {"bo-quen-gio": False})
    finally:
        await store.aclose()


def test_membership_is_explained_and_drift_is_found_and_repaired(tmp_path: Path, onefold: Onefold) -> None:
    settled = onefold.wait_until_settled(0)["accepted"]
    (tmp_path / "definitions").mkdir()
    (tmp_path / "definitions" / "segments.yaml").write_text(DEFINITIONS, encoding="utf-8")
    onefold.run("apply", str(tmp_path / "definitions"))
    onefold.send([track_call("ánh", "Thêm vào giỏ", "g1"), track_call("bình", "Thêm vào giỏ", "g2")])
    onefold.wait_until_settled(settled + 2)
    why(onefold, BÌNH)
    # In one batch: the first order ends it, and not the last event.
    batch = [("Xem hàng", "x1"), ("Đặt hàng", "o1"), ("Đặt hàng", "o2"), ("Xem hàng", "x2")]
    onefold.send([track_call("bình", name, number) for name, number in batch])
    onefold.wait_until_settled(settled + 6)

    member = why(onefold, ÁNH)
    assert member["member"]
    assert member["tree"]["inside"][0]["events"][0]["shown"][0]["id"] == "g1"
    assert member["transition"]["event"]["id"] == "g1"
    gone = eventually(lambda: why(onefold, BÌNH), lambda answer: not answer["member"])
    assert [child["holds"] for child in gone["tree"]["inside"]] == [True, False]
    assert gone["transition"]["op"] == "exited"
    assert gone["transition"]["event"]["id"] == "o1"
    assert gone["tree"]["inside"][1]["events"][0]["shown"][0]["id"] in ("o1", "o2")  # both came at the same instant
    exits = "SELECT cause, event_id FROM transitions WHERE segment = 'bo-quen-gio' AND op = 'exited'"
    assert eventually(lambda: onefold.rows(exits), lambda rows: bool(rows)) == [["event", "o1"]]
    text = onefold.run("segments", "why", BÌNH, "bo-quen-gio").stdout
    assert "✗ no Đặt hàng in the last 1d" in text
    assert max(map(len, text.splitlines())) <= 80
    assert "bo-quen-gio" in onefold.run("segments", "why", ÁNH).stdout
    assert onefold.run("segments", "why", "user_id:nobody", "bo-quen-gio", check=False).returncode == 1

    assert ["1", "bo-quen-gio"] in [line.split() for line in onefold.run("segments", "list").stdout.splitlines()]
    listed = onefold.run("segments", "members", "bo-quen-gio", "--format", "csv").stdout.splitlines()
    assert listed[0] == "profile_id,since,cause,name,user_id,crm_id,email,phone"
    assert [line.split(",")[4] for line in listed[1:]] == ["ánh"]
    profile = onefold.json("profile", ÁNH)
    assert [segment["name"] for segment in profile["segments"]] == ["bo-quen-gio"]
    assert "user_id:ánh" in onefold.run("profile", profile["profile_id"]).stdout
    assert onefold.run("profile", "user_id:nobody", check=False).returncode == 1

    status = onefold.status()
    token, address = status["api_token"], f"{status['addresses']['api']}/v1/segments/why"
    asked = {"profile": ÁNH, "segment": "bo-quen-gio"}
    by_api = httpx.post(address, json=asked, headers={"Authorization": f"Bearer {token}"}, timeout=30).json()
    assert by_api["member"]
    assert by_api["tree"]["inside"][0]["events"] == member["tree"]["inside"][0]["events"]

    agreed = onefold.json("segments", "verify", "bo-quen-gio")
    assert agreed["agrees"]
    assert agreed["segments"][0]["both"] == 1
    asyncio.run(break_membership(onefold, member["profile_id"]))
    broken = onefold.run("segments", "verify", "bo-quen-gio", check=False)
    assert broken.returncode == 1
    assert "--repair" in broken.stdout
    repaired = onefold.json("segments", "verify", "--repair")
    assert repaired["agrees"]
    assert repaired["repaired"] == 1
    rows = eventually(
        lambda: onefold.rows("SELECT op, cause FROM transitions WHERE cause = 'reconcile'"), lambda found: bool(found)
    )
    assert rows == [["entered", "reconcile"]]
