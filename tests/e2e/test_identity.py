"""Identity on the shipped command: merged, explained, taken apart, kept apart, taken back; the API says the same."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.onefold import Onefold, eventually, onefold_in

pytestmark = [pytest.mark.stack, pytest.mark.e2e]
ÁNH, PHONE, DEVICE = "email:ánh@shop.vn", "phone:0912345678", "anonymous_id:máy-chung"
WHY_NOT = "hai người, một máy tính bảng"


def on_device(number: int, **traits: str) -> dict[str, Any]:
    """Somebody says who they are on the shared device; one day later each time."""
    return {
        "type": "identify",
        "messageId": f"m{number}",
        "timestamp": f"2026-01-{number:02d}T08:00:00Z",
        "anonymousId": "máy-chung",
        "traits": traits,
    }


def why(onefold: Onefold, a: str = ÁNH, b: str = PHONE) -> Any:
    return onefold.json("identity", "why", a, b)


def state(onefold: Onefold) -> Any:
    return onefold.verified()["redis"]


def test_a_shared_device_is_taken_apart_stays_apart_and_is_taken_back(tmp_path: Path) -> None:
    with onefold_in(tmp_path / "of") as onefold:
        onefold.send([on_device(1, email="ánh@shop.vn", name="Nguyễn Thị Ánh"), on_device(2, phone="0912345678", name="Trần Đức")])
        onefold.settled(2)
        together = eventually(lambda: why(onefold), lambda answer: answer["together"] and answer["settled"] and answer["history"])
        assert [step["first_event"]["id"] for step in together["path"]] == ["m1", "m2"]
        assert "Nguyễn" not in onefold.run("identity", "why", ÁNH, PHONE).stdout
        assert "anonymous_id:máy-chung" in onefold.run("identity", "how", ÁNH).stdout
        before = state(onefold)

        done = onefold.json("identity", "split", DEVICE, "--move", PHONE, "--reason", WHY_NOT, "--by", "Bình")
        assert done["applied"]
        assert len(done["profiles"]) == 2
        onefold.send([on_device(3, phone="0912345678"), on_device(4, email="ánh@shop.vn")])
        onefold.settled(4)
        apart = eventually(lambda: why(onefold), lambda answer: answer["settled"] and "by" in answer["reasons"][0]["decision"])
        assert not apart["together"]
        assert {reason["decision"]["operation"] for reason in apart["reasons"]} == {done["operation"]}
        assert WHY_NOT in onefold.run("identity", "why", ÁNH, PHONE).stdout

        back = onefold.json("identity", "undo", done["operation"])
        assert back["applied"]
        assert why(onefold)["together"]
        assert before != state(onefold)  # two more events
        listed = onefold.json("identity", "operations")
        assert [entry["operation"] for entry in eventually(lambda: listed, bool)][-1] == done["operation"]
        assert_the_api_says_the_same(onefold)
        assert_preview(onefold, tmp_path)
        assert onefold.account()["balanced"]
        assert onefold.verified()["agree"]


def test_a_cut_taken_back_leaves_the_same_state_and_wrong_words_are_told(tmp_path: Path) -> None:
    with onefold_in(tmp_path / "of") as onefold:
        onefold.send([on_device(1, email="ánh@shop.vn"), on_device(2, phone="0912345678")])
        onefold.settled(2)
        eventually(lambda: why(onefold), lambda answer: answer["together"] and answer["settled"])
        before = state(onefold)
        done = onefold.json("identity", "cut", PHONE, DEVICE, "--reason", WHY_NOT)
        assert state(onefold) != before
        onefold.json("identity", "undo", done["operation"])
        assert state(onefold) == before
        for argv, said in (
            (("cut", PHONE, ÁNH, "--reason", "x"), "onefold identity split"),
            (("why", "nonsense", ÁNH), "namespace:value"),
            (("why", "user_id:null", ÁNH), "names nobody"),
            (("undo", "op-00000000000000"), "no such operation"),
            (("undo", done["operation"]), "came after it"),
            (("preview", str(tmp_path / "không-có.yaml")), "does not exist"),
        ):
            result = onefold.run("identity", *argv, check=False)
            assert (result.returncode, said in result.stderr) == (1, True), result.stderr
        unknown = onefold.run("identity", "why", "user_id:không-ai", ÁNH)
        assert "user_id:không-ai was never seen" in unknown.stdout


def assert_the_api_says_the_same(onefold: Onefold) -> None:
    token = json.loads((onefold.data_dir / "run" / "secrets.json").read_text())["api_token"]
    address = onefold.status()["addresses"]["api"]
    with httpx.Client(base_url=address, headers={"Authorization": f"Bearer {token}"}, timeout=30) as client:
        said = eventually(
            lambda: client.get("/v1/identity/why", params={"a": ÁNH, "b": PHONE}).json(), lambda answer: answer["rules_known"]
        )
        assert {name: value for name, value in said.items() if name != "rules_known"} == {
            name: value for name, value in why(onefold).items() if name != "rules_known"
        }
        cut = {"a": PHONE, "b": DEVICE, "by": "API", "reason": WHY_NOT}
        done = client.post("/v1/identity/cut", json=cut)
        assert done.status_code in (200, 202)
        assert client.post(
            "/v1/identity/undo", json={"operation": done.json()["operation"], "by": "API", "reason": "lại"}
        ).is_success
        eventually(lambda: why(onefold), lambda answer: answer["together"] and answer["settled"])


def assert_preview(onefold: Onefold, folder: Path) -> None:
    path = folder / "luật.yaml"
    path.write_text(
        "apiVersion: onefold/v1\nkind: IdentityRules\nmetadata: {name: default}\n"
        'spec: {namespaces: {anonymous_id: {blocked: ["máy-chung"]}}}\n',
        encoding="utf-8",
    )
    told = onefold.json("identity", "preview", str(path))
    assert (told["splits"], told["merges"], told["then"]["blocked"]) == (1, 0, 1)
    assert "anonymous_id:máy-chung" in onefold.run("identity", "preview", str(path)).stdout
