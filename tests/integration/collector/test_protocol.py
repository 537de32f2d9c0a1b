"""What a client may do to the collector's sockets. No broker is needed: nothing here is an event."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import httpx
import orjson
import pytest

from collector.app import create_app
from collector.main import http_limits
from collector.responses import render_refusal
from runtime.bus.memory import MemoryBus
from runtime.clock import ManualClock
from runtime.http.limits import HttpLimits
from runtime.metrics import Metrics
from runtime.settings import Settings
from tests.support.collector_harness import KEY, NOW_MS, known_sources
from tests.support.http_port import PATIENT, WITHIN_S, Port, served

TRACK = b"POST /v1/track HTTP/1.1\r\nHost: x\r\n"


@asynccontextmanager
async def serving(limits: HttpLimits) -> AsyncIterator[Port]:
    settings, bus = Settings(), MemoryBus()
    await bus.create_topics({settings.topic(name): (3, {}) for name in ("events", "quarantine")})
    app = create_app(settings, await bus.producer(), ManualClock(NOW_MS), known_sources(), Metrics())
    async with served(app, limits, render_refusal) as port:
        yield port


def limits_of(max_header_bytes: int, max_body_bytes: int) -> HttpLimits:
    return replace(PATIENT, max_header_bytes=max_header_bytes, max_body_bytes=max_body_bytes)


async def answer_to(port: Port, sent: bytes) -> bytes:
    """Return everything that the collector sends until it closes the connection; it need not read all of `sent`."""
    reader, writer = await port.open()
    async with asyncio.timeout(WITHIN_S):
        try:
            writer.write(sent)
            await writer.drain()
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()


def code(answer: bytes) -> tuple[int, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), orjson.loads(body)["code"]


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"GET /" + b"a" * 70_000, (431, "headers_too_large")),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000, (431, "headers_too_large")),
        (b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 12_000, (431, "headers_too_large")),
        (b"nonsense\r\n\r\n", (400, "invalid_http")),
        ("GET /Phở HTTP/1.1\r\n\r\n".encode(), (400, "invalid_http")),
    ],
)
async def test_an_oversized_request_head_is_answered_and_closes_the_connection(sent: bytes, said: tuple[int, str]) -> None:
    async with serving(limits_of(40_000, 100_000)) as port:
        assert code(await answer_to(port, sent)) == said
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port.number}") as http:
            for _ in range(3):
                assert (await http.post("/v1/track", json={"userId": "u1", "event": "X"}, auth=(KEY, ""))).status_code == 200


async def test_headers_that_are_whole_but_too_large_are_refused() -> None:
    async with (
        serving(limits_of(1_000_000, 1_000_000)) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port.number}") as http,
    ):
        answer = await http.get("/health", headers={"X": "a" * 40_000})
        assert answer.status_code == 431
        assert answer.json()["code"] == "headers_too_large"


async def test_a_body_of_frames_without_end_is_cut_off() -> None:
    head = b"POST /v1/track HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n"
    async with serving(limits_of(5_000, 10_000)) as port:
        assert b"200 OK" not in await answer_to(port, head + b"X: a\r\n" * 500_000)


async def test_slow_clients_are_told_in_the_words_of_the_collector() -> None:
    async with serving(replace(PATIENT, body_timeout_s=0.05)) as port:
        answer = await port.trickle(TRACK + b"Content-Length: 100000\r\n\r\n", b"x")
        assert code(answer) == (408, "body_timeout")


@pytest.mark.parametrize("key_in_body", [False, True])
async def test_1100_connections_without_a_key_do_not_shut_out_a_client_with_one(key_in_body: bool) -> None:
    limits = replace(http_limits(Settings()), headers_timeout_s=WITHIN_S, body_timeout_s=WITHIN_S)
    async with serving(limits) as port:
        flood = await port.flood(1_100, TRACK + b"Content-Length: 1000\r\n\r\nx")
        call = {"userId": "u1", "event": "X", **({"writeKey": KEY} if key_in_body else {})}
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port.number}", auth=None if key_in_body else (KEY, "")) as http:
            answer = await http.post("/v1/track", json=call)
        assert answer.status_code == 200
        assert port.closed["no_room"] >= 1_100 - limits.max_unproven_per_peer
        for writer in flood:
            writer.close()
