from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from standardwebhooks.webhooks import Webhook

from demo.webhook_receiver import MAX_BYTES, Receiver, serving
from runtime.clock import SystemClock

SECRET = "whsec_" + "c2VjcmV0IG9mIHRlc3RzLCAyNCBieXRlcw=="
OTHER = "whsec_" + "YW5vdGhlciBzZWNyZXQsIDI0IGJ5dGVzIQ=="


@pytest.fixture
async def url(receiver: Receiver) -> AsyncIterator[str]:
    async with serving(receiver) as address:
        yield address


@pytest.fixture
def receiver(tmp_path: Path) -> Receiver:
    return Receiver(SECRET, tmp_path / "received.txt")


async def post(url: str, key: str, secret: str = SECRET, body: bytes = b"{}", age_s: int = 0) -> int:
    at = SystemClock().now_ms() // 1000 - age_s
    signature = Webhook(secret).sign(key, datetime.fromtimestamp(at, tz=UTC), body.decode())
    headers = {"webhook-id": key, "webhook-timestamp": str(at), "webhook-signature": signature}
    async with httpx.AsyncClient(trust_env=False) as client:
        return (await client.post(url, content=body, headers=headers)).status_code


async def test_a_signed_message_is_kept_also_for_the_next_run(url: str, receiver: Receiver, tmp_path: Path) -> None:
    assert await post(url, "a") == 200
    assert await post(url, "a") == 200
    assert receiver.ids == {"a"}
    assert receiver.responses["repeated"] == 1
    assert Receiver(SECRET, tmp_path / "received.txt").ids == {"a"}


async def test_a_bad_or_old_signature_is_refused(url: str, receiver: Receiver) -> None:
    assert await post(url, "a", secret=OTHER) == 401
    assert await post(url, "a", age_s=3_600) == 401
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.post(url, content=b"{}")).status_code == 401
        garbled = {"webhook-id": "a", "webhook-timestamp": "0", "webhook-signature": "x"}
        assert (await client.post(url, content=b"\xff", headers=garbled)).status_code == 401
    assert receiver.ids == set()


async def test_some_messages_are_taken_at_their_second_attempt_only(url: str, receiver: Receiver) -> None:
    keys = [str(n) for n in range(200)]
    answers = [await post(url, key) for key in keys]
    busy = [key for key, status in zip(keys, answers, strict=True) if status == 503]
    assert busy
    assert [await post(url, key) for key in busy] == [200] * len(busy)
    assert receiver.ids == set(keys)


async def test_too_large_a_body_is_refused(url: str, receiver: Receiver) -> None:
    assert await post(url, "a", body=b"x" * (MAX_BYTES + 1)) == 413
    assert receiver.ids == set()
