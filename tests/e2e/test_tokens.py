"""Tokens of the API on the shipped command: made, used for their scopes alone, and revoked while the API runs."""

import httpx
import pytest

from tests.support.shipped_command import Onefold

pytestmark = [pytest.mark.stack, pytest.mark.e2e, pytest.mark.timeout(600)]


def test_a_token_opens_what_it_is_for_until_it_is_revoked(onefold: Onefold) -> None:
    status = onefold.status()
    token = onefold.run("tokens", "add", "man-hinh", "--scope", "profiles:read").stdout.strip()
    with httpx.Client(base_url=status["addresses"]["api"], headers={"Authorization": f"Bearer {token}"}, timeout=30) as http:
        asked = {"profile": "phone:0999 123 456"}
        assert http.post("/v1/profiles/lookup", json=asked).status_code == 404
        decision = {"a": "user_id:1", "b": "user_id:2", "reason": "thử"}
        assert http.post("/v1/identity/cut", json=decision).status_code == 403
        assert {entry["name"] for entry in onefold.json("tokens", "list")} == {"operator", "man-hinh"}
        onefold.run("tokens", "revoke", "man-hinh")
        assert http.post("/v1/profiles/lookup", json=asked).status_code == 401
        own = {"Authorization": f"Bearer {status['api_token']}"}
        assert http.post("/v1/profiles/lookup", json=asked, headers=own).status_code == 404
    logs = "".join(file.read_text(errors="replace") for file in (onefold.data_dir / "logs").glob("*.log"))
    assert token not in logs
    assert "0999" not in logs
