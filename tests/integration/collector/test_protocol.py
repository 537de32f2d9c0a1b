"""What a client may do to the collector's sockets. No broker is needed: nothing here is an event."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import orjson
import pytest
import uvicorn

from collector.app import create_app
from collector.http_protocol import BoundedHttpProtocol, bounded_protocol
from runtime.bus.memory import MemoryBus
from runtime.clock import ManualClock
from runtime.health import QuietServer
from runtime.metrics import Metrics
from runtime.settings import Settings
from tests.support.collector_harness import KEY, NOW_MS, known_sources
from tests.support.polling import eventually_async

WITHIN_S = 30


@asynccontextmanager
async def serving(http: type[BoundedHttpProtocol]) -> AsyncIterator[int]:
    settings, bus = Settings(), MemoryBus()
    await bus.create_topics({settings.topic(name): (3, {}) for name in ("events", "quarantine")})
    app = create_app(settings, await bus.producer(), ManualClock(NOW_MS), known_sources(), Metrics())
    server = QuietServer(uvicorn.Config(app, http=http, port=0, lifespan="off", log_config=None, timeout_graceful_shutdown=1))
    task = asyncio.create_task(server.serve())
    try:
        await eventually_async(lambda: server.started, within_s=WITHIN_S, every_s=0.005)
        yield int(server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        await task


async def answer_to(port: int, sent: bytes) -> bytes:
    """Return everything that the collector sends until it closes the connection; it need not read all of `sent`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
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
    async with serving(bounded_protocol(40_000, 100_000)) as port:
        assert code(await answer_to(port, sent)) == said
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
            for _ in range(3):
                assert (await http.post("/v1/track", json={"userId": "u1", "event": "X"}, auth=(KEY, ""))).status_code == 200


async def test_headers_that_are_whole_but_too_large_are_refused() -> None:
    async with (
        serving(bounded_protocol(1_000_000, 1_000_000)) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http,
    ):
        answer = await http.get("/health", headers={"X": "a" * 40_000})
        assert answer.status_code == 431
        assert answer.json()["code"] == "headers_too_large"


async def test_a_body_of_frames_without_end_is_cut_off() -> None:
    head = b"POST /v1/track HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n"
    async with serving(bounded_protocol(5_000, 10_000)) as port:
        assert b"200 OK" not in await answer_to(port, head + b"X: a\r\n" * 500_000)


async def test_idle_connection_without_headers_is_closed() -> None:
    hasty = type("Hasty", (bounded_protocol(40_000, 100_000),), {"headers_timeout_s": 0.01})
    async with serving(hasty) as port:
        assert await answer_to(port, b"") == b""
        assert await answer_to(port, b"POST /v1/track HTTP/1.1\r\nX: ") == b""
