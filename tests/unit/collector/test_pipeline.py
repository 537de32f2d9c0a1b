"""What the order of a request's steps promises: when the clock is read, when the rate is charged, whose headers an answer has."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
import orjson
import pytest
from starlette.requests import Request

from collector.body import DecodedBody
from collector.context import RequestContext
from collector.pipeline import decide_calls
from collector.routes.tracking import parse_calls
from domain.intake.rejection import BodyProblem
from runtime.bus.port import Outgoing, Producer
from tests.support.collector_harness import KEY, NOW_MS, CollectorHarness, collector_harness, source

TRACK = {"type": "track", "userId": "u1", "event": "Order Completed"}
SHOP = "https://cho-que.vn"
RATE = {"rate_limit": {"events_per_second": 1, "burst_events": 3}}


async def post_batch(at: CollectorHarness, count: int, **more: Any) -> httpx.Response:
    return await at.post("/v1/batch", {"batch": [TRACK] * count}, **more)


async def test_an_event_is_received_when_its_whole_body_has_arrived() -> None:
    async with collector_harness() as at:

        async def slow_upload() -> AsyncIterator[bytes]:
            yield b'{"userId": "u1",'
            at.clock.advance(5_000)
            yield b'"event": "X"}'

        assert (await at.http.post("/v1/track", content=slow_upload(), auth=(KEY, ""))).status_code == 200
        (event,) = await at.events()
        assert event.received_ms == NOW_MS + 5_000


async def test_a_key_may_be_right_while_the_record_of_a_source_cannot_be_read() -> None:
    async with collector_harness() as at:
        at.sources.has_unreadable = True
        refused = await at.post("/v1/track", TRACK, auth=("key-of-the-unreadable-source", ""))
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "60")
        assert (await at.http.post("/v1/webhook/unreadable", content=b"{}")).status_code == 503
        assert (await at.post("/v1/track", TRACK)).status_code == 200


async def test_a_batch_is_charged_once_for_the_number_of_its_calls() -> None:
    async with collector_harness(spec=RATE) as at:
        assert [(await post_batch(at, count)).status_code for count in (2, 1, 1)] == [200, 200, 429]


async def test_a_batch_with_its_key_in_the_body_is_charged_once_too() -> None:
    body = {"batch": [TRACK, TRACK], "writeKey": KEY}
    async with collector_harness(spec=RATE) as at:
        assert (await at.post("/v1/batch", body, auth=None)).status_code == 200
        assert (await post_batch(at, 1)).status_code == 200
        refused = await at.post("/v1/batch", body, auth=None)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "2")


async def test_a_batch_over_the_rate_is_refused_before_its_calls_are_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[Any] = []
    async with collector_harness(spec=RATE) as at:
        assert (await post_batch(at, 3)).status_code == 200
        monkeypatch.setattr("domain.intake.decide_calls.parse_call", lambda call, **_: parsed.append(call))
        at.clock.advance(1_000)
        assert (await post_batch(at, 2)).status_code == 429
        assert parsed == []


async def test_every_line_of_a_file_is_charged() -> None:
    async with collector_harness(spec=RATE) as at:
        answers = [await at.post("/v1/import/customers", content=b"user_id\nu1\nu2") for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 429]


class BrokenProducer:
    """A producer with a bug."""

    def __init__(self, inner: Producer) -> None:
        self._inner = inner

    async def send(self, records: Sequence[Outgoing]) -> list[tuple[int, int]]:
        raise ZeroDivisionError(len(records))

    async def aclose(self) -> None:
        await self._inner.aclose()


@pytest.mark.parametrize(
    ("harness", "content", "code"),
    [
        ({"collector_max_body_bytes": 4096}, b" " * 5000, "too_large"),
        ({}, b"{", "invalid_json"),
        ({"collector_max_batch_events": 1}, orjson.dumps({"batch": [TRACK] * 2}), "too_many_events"),
        ({"away": True}, orjson.dumps({"batch": [TRACK]}), "unavailable"),
        ({"producer": BrokenProducer}, orjson.dumps({"batch": [TRACK]}), "internal_error"),
    ],
)
async def test_every_refusal_has_the_headers_of_the_source(harness: dict[str, Any], content: bytes, code: str) -> None:
    async with collector_harness(spec={"cors_origins": (SHOP,)}, **harness) as at:
        answer = await at.post("/v1/batch", content=content, headers={"Origin": SHOP})
        assert answer.json()["code"] == code
        assert answer.headers["access-control-allow-origin"] == SHOP
        assert answer.headers["vary"] == "Origin"
        assert "Retry-After" in answer.headers["access-control-expose-headers"]


async def test_a_refusal_for_the_rate_has_the_headers_of_the_source() -> None:
    async with collector_harness(spec={"cors_origins": (SHOP,), **RATE}) as at:
        for status in (200, 429):
            answer = await post_batch(at, 3, headers={"Origin": SHOP})
            assert answer.status_code == status
            assert answer.headers["access-control-allow-origin"] == SHOP


async def test_a_preflight_request_takes_no_permit_and_is_not_counted() -> None:
    async with collector_harness() as at:
        for _ in range(1024):
            at.parts.limiter.permit("a").prove()
        answer = await at.http.options("/v1/track", headers={"Origin": SHOP})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (204, "*")
        assert b"onefold_http_requests_total{" not in at.metrics.exposition()


async def test_the_body_is_released_before_the_broker_is_awaited() -> None:
    async with collector_harness() as at:
        permit = at.parts.limiter.permit("a")
        request = Request({"type": "http", "headers": [], "query_string": b"", "client": None})
        body = DecodedBody({"batch": [TRACK]}, b"{}")
        context = RequestContext(request, permit, {}, source=source("default", KEY), raw=b"raw", body=body)
        for step in (parse_calls("batch"), decide_calls):
            after = step(at.parts, context)
            assert isinstance(after, RequestContext)
            context = after
        assert len(context.outcome.records) == 1
        assert context.raw == b""
        assert isinstance(context.body, BodyProblem)
        assert isinstance(context.envelope, BodyProblem)
