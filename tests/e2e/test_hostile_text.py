"""Texts of clients on the shipped command: they cost no more than their length, steer no terminal, and show no write key."""

from typing import Any

import httpx
import orjson
import pytest

from tests.support.polling import eventually
from tests.support.shipped_command import Onefold

pytestmark = [pytest.mark.stack, pytest.mark.e2e]

SLOW_TIME = "10:00" + " " * 74 + "x"
"""It was half a second of the collector's time; a request may hold thousands."""
MARKS = "a" + "\u0301\u0316" * 4_000
OPEN_QUOTES = "user_id,email\n" + 'a","b\nx,y\n' * 9_000
MANY_COLUMNS = "user_id," + "c," * 100_000 + "\nu1\n"
ESCAPES = "\x1b]52;c;b3duZWQ=\x07\x1b[2J"


def addresses(onefold: Onefold) -> dict[str, str]:
    found = onefold.status()["addresses"]
    return {name: url if "://" in url else f"http://{url}" for name, url in found.items()}


@pytest.mark.timeout(240)
def test_no_text_with_a_public_key_stops_the_collector(onefold: Onefold) -> None:
    url, keys = addresses(onefold)["collector"], onefold.status()["write_keys"]
    pid, restarts = onefold.pid("collector"), onefold.restarts("collector")
    slow = {"type": "track", "event": "a", "userId": "u", "timestamp": SLOW_TIME, "originalTimestamp": SLOW_TIME}
    bodies: tuple[tuple[str, str, bytes], ...] = (
        ("batch", "default", orjson.dumps({"batch": [slow] * 1_000})),
        ("batch", "default", orjson.dumps({"batch": [{"type": "track", "event": "a", "userId": MARKS}] * 80})),
        ("import/customers", "server", OPEN_QUOTES.encode()),
        ("import/customers", "server", MANY_COLUMNS.encode()),
    )
    with httpx.Client(base_url=url, timeout=60) as http:
        answers = [http.post(f"/v1/{path}", content=body, auth=(keys[key], "")) for path, key, body in bodies]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 400]
        assert answers[2].json()["accepted"] == 9_000
        assert http.get("/health").json() == {"ready": True}
    assert (onefold.pid("collector"), onefold.restarts("collector")) == (pid, restarts)


def test_every_port_forbids_browsers_to_guess(onefold: Onefold) -> None:
    for name, path in (
        ("collector", "/health"),
        ("collector", "/v1/nothing"),
        ("api", "/v1/profiles/user_id:x"),
        ("clickhouse", "/ping"),
    ):
        address = httpx.URL(addresses(onefold)[name])
        answer = httpx.get(f"http://{address.host}:{address.port}{path}", timeout=30)
        assert answer.headers["x-content-type-options"] == "nosniff", (name, path)


def test_a_body_that_nobody_can_read_is_shown_without_its_key_and_without_escapes(onefold: Onefold) -> None:
    url, key = addresses(onefold)["collector"], onefold.status()["write_keys"]["default"]
    broken = orjson.dumps({"batch": [], "writeKey": key, "note": "đứt giữa chừng"})[:-1] + ESCAPES.encode()
    assert httpx.post(f"{url}/v1/batch", content=broken, auth=(key, ""), timeout=30).status_code == 400

    def shown() -> Any:
        entries = onefold.json("quarantine", "list", "--reason", "unparsable", "--limit", "20")
        texts = [onefold.run("quarantine", "show", entry["id"]).stdout for entry in entries]
        return next((text for text in texts if "đứt giữa chừng" in text), "")

    text = eventually(shown, bool)
    assert key not in text
    assert '"writeKey":"***"' in text
    assert "\x1b" not in text
    assert "\x07" not in text
