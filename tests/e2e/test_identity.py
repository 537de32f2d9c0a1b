"""Identity on the shipped command: merged, explained, taken apart, kept apart, taken back; the API says the same."""

import contextlib
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.polling import eventually
from tests.support.shipped_command import Onefold

pytestmark = [pytest.mark.stack, pytest.mark.e2e, pytest.mark.timeout(600)]
ÁNH, PHONE, DEVICE = "email:ánh@shop.vn", "phone:0912345678", "anonymous_id:máy-chung"
WHY_NOT = "hai người, một máy tính bảng"


def on_device(number: int, **traits: str) -> dict[str, Any]:
    """Return an identify call on the shared device, one day later for each number."""
    return {
        "type": "identify",
        "messageId": f"m{number}",
        "timestamp": f"2026-01-{number:02d}T08:00:00Z",
        "anonymousId": "máy-chung",
        "traits": traits,
    }


class ApiClient:
    """A client of the API of a running Onefold, which is faster than a command for each question."""

    def __init__(self, onefold: Onefold) -> None:
        status = onefold.status()
        headers = {"Authorization": f"Bearer {status['api_token']}"}
        self.http = httpx.Client(base_url=status["addresses"]["api"], headers=headers, timeout=30)

    def why(self) -> Any:
        """Ask until labels, rules and ClickHouse have all arrived in the answer, and return it."""

        def arrived(answer: Any) -> bool:
            decided = [reason["decision"] for reason in answer["reasons"] if "decision" in reason]
            told = all("type" in step["first_event"] for step in answer["path"]) and all("by" in decision for decision in decided)
            return bool(answer["settled"] and answer["rules_known"] and answer["verdict"] != "never_together" and told)

        return eventually(lambda: self.http.post("/v1/identity/why", json={"a": ÁNH, "b": PHONE}).json(), arrived)

    def decide(self, what: str, **body: Any) -> Any:
        response = self.http.post(f"/v1/identity/{what}", json={"reason": WHY_NOT, **body})
        assert response.status_code in (200, 202), response.text
        return response.json()


def test_a_shared_device_is_taken_apart_stays_apart_and_is_taken_back(tmp_path: Path, onefold: Onefold) -> None:
    settled = onefold.wait_until_settled(0)["accepted"]
    with contextlib.closing((api := ApiClient(onefold)).http):
        onefold.send([on_device(1, email="ánh@shop.vn", name="Nguyễn Thị Ánh"), on_device(2, phone="0912345678", name="Trần Đức")])
        onefold.wait_until_settled(settled + 2)
        together = api.why()
        assert together["together"]
        assert [step["first_event"]["id"] for step in together["path"]] == ["m1", "m2"]
        assert onefold.json("identity", "why", ÁNH, PHONE) == together
        assert "anonymous_id:máy-chung" in onefold.run("identity", "how", ÁNH).stdout
        before = onefold.wait_until_verified()["redis"]

        cut = onefold.json("identity", "cut", PHONE, DEVICE, "--reason", WHY_NOT)
        assert cut["applied"]
        assert not api.why()["together"]
        api.decide("undo", operation=cut["operation"])
        assert api.why()["together"]
        assert onefold.wait_until_verified()["redis"] == before

        split = onefold.json("identity", "split", DEVICE, "--move", PHONE, "--reason", WHY_NOT, "--by", "Bình")
        assert split["applied"]
        assert len(split["profiles"]) == 2
        onefold.send([on_device(3, phone="0912345678"), on_device(4, email="ánh@shop.vn")])
        onefold.wait_until_settled(settled + 4)
        apart = api.why()
        assert not apart["together"]
        assert {reason["decision"]["operation"] for reason in apart["reasons"]} == {split["operation"]}
        assert WHY_NOT in onefold.run("identity", "why", ÁNH, PHONE).stdout

        back = onefold.json("identity", "undo", split["operation"])
        assert back["applied"]
        assert api.why()["together"]
        listed = onefold.json("identity", "operations")
        assert [entry["operation"] for entry in listed][-1] == cut["operation"]
        assert_preview(onefold, tmp_path)
        assert_wrong_words_are_told(onefold, split["operation"])
        assert onefold.account()["balanced"]
        assert onefold.wait_until_verified()["agree"]


def assert_wrong_words_are_told(onefold: Onefold, undone: str) -> None:
    for argv, message in (
        (("cut", PHONE, ÁNH, "--reason", "x"), "onefold identity split"),
        (("why", "nonsense", ÁNH), "namespace:value"),
        (("undo", undone), "later operations have decided"),
    ):
        result = onefold.run("identity", *argv, check=False)
        assert result.returncode == 1, result.stderr
        assert (message in result.stderr) is True, result.stderr
    unknown = onefold.run("identity", "why", "user_id:không-ai", ÁNH)
    assert "user_id:không-ai was never seen" in unknown.stdout


def assert_preview(onefold: Onefold, folder: Path) -> None:
    path = folder / "luật.yaml"
    path.write_text(
        "apiVersion: onefold/v1\nkind: IdentityRules\nmetadata: {name: default}\n"
        'spec: {namespaces: {anonymous_id: {blocked: ["máy-chung"]}}}\n',
        encoding="utf-8",
    )
    answer = onefold.json("identity", "preview", str(path))
    assert answer["splits"] == 1
    assert answer["merges"] == 0
    assert answer["then"]["blocked"] == 1
    assert "anonymous_id:máy-chung" in onefold.run("identity", "preview", str(path)).stdout
