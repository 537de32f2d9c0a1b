"""Thousands of traits with long names from a public key, on the shipped command: the profile stays small, and nothing restarts."""

import gzip
from typing import Any

import httpx
import pytest

from domain.profiles.bounds import MAX_COUNTERS, MAX_IDENTIFIERS, MAX_TRAITS
from tests.support.flood_of_names import flood
from tests.support.polling import eventually
from tests.support.shipped_command import Onefold

pytestmark = [pytest.mark.stack, pytest.mark.e2e]
CUSTOMER = "KH-lũ-lụt"


def test_a_flood_of_names_leaves_a_bounded_profile_and_restarts_nothing(onefold: Onefold) -> None:
    status = onefold.status()
    restarts = {entry["name"]: entry["restarts"] for entry in status["roles"]}
    url, key = status["addresses"]["collector"], status["write_keys"]["default"]
    url = url if url.startswith("http") else f"http://{url}"
    for body in flood(CUSTOMER, requests=1):
        compressed = gzip.compress(body)
        assert len(compressed) < 100_000
        answer = httpx.post(f"{url}/v1/batch", content=compressed, headers={"Content-Encoding": "gzip"}, auth=(key, ""), timeout=60)
        assert answer.status_code == 200
        assert not answer.json().get("results")
    onefold.send([{"type": "identify", "userId": CUSTOMER, "messageId": "real", "traits": {"name": "Lụa"}}], source="default")

    def profile() -> Any:
        result = onefold.run("profile", f"user_id:{CUSTOMER}", "--json", check=False)
        return onefold.json("profile", f"user_id:{CUSTOMER}") if result.returncode == 0 else {"traits": {}}

    shown = eventually(profile, lambda answer: answer["traits"].get("name") == "Lụa", within_s=120)
    assert len(shown["traits"]) <= MAX_TRAITS + 1
    assert len(shown["counters"]) <= MAX_COUNTERS + 1
    assert len(shown["identifiers"]) <= 2 * MAX_IDENTIFIERS
    assert shown["dropped_names"].keys() == {"traits", "identifiers"}
    assert "not kept here:" in onefold.run("profile", f"user_id:{CUSTOMER}").stdout
    # The customer's next event is like any other's.
    onefold.send(
        [{"type": "identify", "userId": CUSTOMER, "messageId": "next", "traits": {"name": "Lụa Nguyễn"}}], source="default"
    )
    eventually(profile, lambda answer: answer["traits"].get("name") == "Lụa Nguyễn")
    assert onefold.wait_until_verified()["agree"]
    assert {entry["name"]: entry["restarts"] for entry in onefold.status()["roles"]} == restarts
