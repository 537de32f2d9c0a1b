import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from standardwebhooks.webhooks import WebhookVerificationError
from starlette.responses import RedirectResponse, Response

from activation.port import AttemptResult, Ok, ReceiverGone, Reject, Retry
from activation.webhook import WebhookChannel, build_signer, classify, retry_after_ms
from activation.webhook_message import render
from runtime.clock import Clock, ManualClock, SystemClock
from runtime.errors import Misconfigured
from tests.support.transitions import destination, transition
from tests.support.webhook_receiver import SECRET, webhook_receiver

NOW_MS = 1_750_000_000_000
MESSAGE = render(transition(), destination())


async def deliver(url: str, *, clock: Clock | None = None, private: bool = True, timeout_s: float = 15) -> AttemptResult:
    spec = destination(url=url, allow_private_addresses=private, allow_plain_http=True).spec
    hook = WebhookChannel(spec, SECRET, clock or SystemClock(), timeout_s=timeout_s)
    try:
        return await hook.deliver(MESSAGE)
    finally:
        await hook.aclose()


async def test_the_receiver_verifies_and_gets_the_very_bytes() -> None:
    async with webhook_receiver() as receiver:
        assert await deliver(receiver.url) == Ok(204)
    (got,) = receiver.requests
    assert got.raw == MESSAGE.body
    assert got.id == MESSAGE.key
    assert got.body["data"]["traits"]["name"] == "Nguyễn Thị Ánh"


@pytest.mark.parametrize("url", ["http://shop.vn/hook", "https://onefold:mat-khau@shop.vn/hook"])
def test_a_url_that_gives_data_away_is_refused_also_when_nobody_has_applied_it(url: str) -> None:
    with pytest.raises(Misconfigured, match=r"the destination's spec\.url: .* set allow_") as raised:
        WebhookChannel(destination(url=url).spec, SECRET, SystemClock())
    assert "mat-khau" not in str(raised.value)


async def test_another_attempt_has_the_same_id_and_a_new_time() -> None:
    now = ManualClock(SystemClock().now_ms())
    async with webhook_receiver() as receiver:
        await deliver(receiver.url, clock=now)
        now.advance(5_000)
        await deliver(receiver.url, clock=now)
    first, second = receiver.requests
    assert first.id == second.id
    assert first.raw == second.raw
    assert int(second.timestamp) == int(first.timestamp) + 5
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]


async def test_the_host_header_keeps_the_name_while_the_address_is_pinned() -> None:
    asked: list[str] = []

    async def here(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    async with webhook_receiver() as receiver:
        url = receiver.url.replace("127.0.0.1", "cửa-hàng.vn")
        hook = WebhookChannel(destination(url=url, allow_plain_http=True).spec, SECRET, SystemClock(), resolver=here)
        assert await hook.deliver(MESSAGE) == Ok(204)
        await hook.aclose()
    assert asked[0].startswith("xn--")
    assert receiver.requests[0].headers["host"].startswith(asked[0])


async def test_a_loopback_url_is_refused_unless_the_definition_allows_it() -> None:
    async with webhook_receiver() as receiver:
        result = await deliver(receiver.url, private=False)
    assert isinstance(result, Retry)
    assert "allow_private_addresses" in result.detail
    assert receiver.requests == []


async def test_redirects_are_not_followed() -> None:
    async with webhook_receiver(lambda _: RedirectResponse("/elsewhere")) as receiver:
        assert await deliver(receiver.url) == Retry(307, "HTTP 307")
    assert len(receiver.requests) == 1


async def test_a_closed_port_and_a_silent_receiver_may_be_tried_again() -> None:
    async with webhook_receiver() as receiver:
        url = receiver.url
    assert await deliver(url) == Retry(0, "ConnectError")

    async def never(_: object) -> Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with webhook_receiver(never) as receiver:
        result = await deliver(receiver.url, timeout_s=0.2)
    assert isinstance(result, Retry)


@pytest.mark.parametrize(
    ("status", "is_a"),
    [
        (200, Ok), (204, Ok), (301, Retry), (308, Retry), (400, Retry), (401, Retry), (403, Retry), (404, Retry), (405, Retry),
        (408, Retry), (409, Retry), (410, ReceiverGone), (413, Reject), (415, Retry), (422, Reject), (429, Retry), (500, Retry),
        (501, Retry), (503, Retry),
    ],
)  # fmt: skip
def test_each_status_means_one_thing(status: int, is_a: type) -> None:
    assert isinstance(classify(status, None, NOW_MS), is_a)


def test_retry_after_is_honoured_where_a_retry_is_due() -> None:
    assert classify(503, "120", NOW_MS) == Retry(503, "HTTP 503", 120_000)
    assert classify(404, "120", NOW_MS) == Retry(404, "HTTP 404", 120_000)
    assert classify(422, "120", NOW_MS) == Reject(422, "HTTP 422")


@pytest.mark.parametrize(
    ("header", "wait_ms"),
    [
        (None, None),
        ("0", 0),
        (" 7 ", 7_000),
        ("Sun, 15 Jun 2025 15:07:40 GMT", 60_000),
        ("Sun, 15 Jun 2025 15:00:00 GMT", 0),
        ("soon", None),
        ("-5", None),
        ("9" * 400, 999_999_999_000),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, wait_ms: int | None) -> None:
    assert retry_after_ms(header, NOW_MS) == wait_ms


def test_a_signature_is_one_that_the_library_verifies() -> None:
    now = SystemClock().now_ms() // 1000
    signature = build_signer(SECRET).sign("id", datetime.fromtimestamp(now, tz=UTC), "chào")
    verify: Callable[..., object] = build_signer(SECRET).verify
    headers = {"webhook-id": "id", "webhook-timestamp": str(now), "webhook-signature": signature}
    verify("chào", headers, json_parse=False)
    with pytest.raises(WebhookVerificationError):
        verify("chào!", headers, json_parse=False)


async def test_while_a_secret_is_rotated_a_message_is_signed_with_both() -> None:
    new_secret = "whsec_" + "bmV3IHNlY3JldCBvZiB0ZXN0cywgMjQgYg=="
    async with webhook_receiver() as receiver:
        hook = WebhookChannel(destination(url=receiver.url).spec, f"{new_secret}\n{SECRET}", SystemClock())
        assert await hook.deliver(MESSAGE) == Ok(204)
        await hook.aclose()
    (got,) = receiver.requests
    verify: Callable[..., object] = build_signer(new_secret).verify
    verify(got.raw.decode(), got.headers)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_c2hvcnQ=", "c2VjcmV0IG9mIHRlc3RzLCAyNCBieXRlcw==", "whsec_é"])
def test_a_secret_that_is_none_is_refused_without_being_quoted(secret: str) -> None:
    with pytest.raises(Misconfigured) as error:
        build_signer(secret)
    assert len(secret) < 7 or secret not in str(error.value)
