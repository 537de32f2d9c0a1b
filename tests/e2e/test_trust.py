"""What the public write key of a website can do to a customer whom trusted sources know, on the shipped command."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from tests.support.polling import eventually
from tests.support.shipped_command import Onefold

EMAIL, PHONE = "lan.tin-cay@shop.vn", "+84905123471"


def send(onefold: Onefold, source: str, calls: Sequence[dict[str, Any]], path: str = "batch") -> httpx.Response:
    status = onefold.status()
    body = {"batch": list(calls)}
    return httpx.post(
        f"{status['addresses']['collector']}/v1/{path}", json=body, auth=(status["write_keys"][source], ""), timeout=10
    )


def identify(user_id: str, **traits: str) -> dict[str, Any]:
    return {"type": "identify", "userId": user_id, "traits": traits}


def identifiers(profile: dict[str, Any]) -> set[str]:
    return {f"{item['namespace']}:{item['value']}" for item in profile["identifiers"]}


def test_a_public_key_takes_nothing_from_a_customer_whom_a_trusted_source_knows(onefold: Onefold) -> None:
    customer = identify("KH-tin-cay", email=EMAIL, phone=PHONE, name="Nguyễn Thị Lan")
    assert send(onefold, "server", [customer]).json()["results"] == []
    known = {"user_id:KH-tin-cay", f"email:{EMAIL}", f"phone:{PHONE}"}
    profile = eventually(lambda: onefold.json("profile", "user_id:KH-tin-cay", check=False), lambda p: identifiers(p) == known)
    accepted = onefold.account()["accepted"]
    attack = [identify(f"ke-gian-{number}", email=EMAIL, phone=PHONE, name="Kẻ gian") for number in range(9)]
    attack.append({"type": "identify", "userId": "KH-tin-cay", "traits": {"name": "Kẻ gian"}})
    assert send(onefold, "default", attack).json()["results"] == []
    onefold.wait_until_settled(accepted + len(attack))
    eventually(
        lambda: onefold.json("identity", "why", "user_id:ke-gian-0", f"email:{EMAIL}", check=False),
        lambda why: why["verdict"] == "apart" and why["settled"],
    )
    after = onefold.json("profile", "user_id:KH-tin-cay")
    assert (identifiers(after), after["traits"]) == (known, profile["traits"])
    assert after["public_traits"] == []
    why = onefold.json("identity", "why", "user_id:KH-tin-cay", f"email:{EMAIL}")
    assert why["together"]
    assert [step["trusted"] for step in why["path"]] == [True]


def test_what_a_public_key_may_not_send_is_kept_in_quarantine_with_the_reason(onefold: Onefold) -> None:
    old = (datetime.now(UTC) - timedelta(days=31)).isoformat()
    recent = (datetime.now(UTC) - timedelta(days=29)).isoformat()
    calls: list[dict[str, Any]] = [
        {"type": "track", "event": "Seen", "anonymousId": "c-quyen-1", "identifiers": {"crm_id": "CRM-1"}},
        {"type": "track", "event": "Seen", "anonymousId": "c-quyen-1", "identifiers": {"caller_number": PHONE}},
        {"type": "call_started", "call_id": "c-quyen", "caller_number": PHONE},
        {"type": "track", "event": "Seen", "anonymousId": "c-quyen-1", "timestamp": old},
        {"type": "track", "event": "Seen", "anonymousId": "c-quyen-1", "timestamp": recent},
    ]
    results = send(onefold, "default", calls).json()["results"]
    assert [(result["index"], result["reason"]) for result in results] == [
        (0, "untrusted_source"), (1, "untrusted_source"), (2, "untrusted_source"), (3, "too_old"),
    ]  # fmt: skip
    assert send(onefold, "server", calls).json()["results"] == []
    refused = send(onefold, "default", calls, "import")
    assert (refused.status_code, refused.json()["code"]) == (403, "untrusted_source")
    assert send(onefold, "server", calls, "import").status_code == 200


def test_a_purely_public_shop_still_merges_its_visitors(onefold: Onefold) -> None:
    calls: list[dict[str, Any]] = [
        {"type": "identify", "anonymousId": "c-cong-khai-1", "traits": {"email": "khach.cong-khai@shop.vn", "name": "Trần Văn An"}},
        {"type": "identify", "anonymousId": "c-cong-khai-2", "traits": {"email": "khach.cong-khai@shop.vn"}},
    ]
    assert send(onefold, "default", calls).json()["results"] == []
    expected = {"anonymous_id:c-cong-khai-1", "anonymous_id:c-cong-khai-2", "email:khach.cong-khai@shop.vn"}
    profile = eventually(
        lambda: onefold.json("profile", "anonymous_id:c-cong-khai-2", check=False), lambda p: identifiers(p) == expected
    )
    assert profile["traits"]["name"] == "Trần Văn An"
    assert "name" in profile["public_traits"]
