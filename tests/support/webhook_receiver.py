"""A webhook receiver on loopback for tests: a real HTTP server that gives the answers that the test sets."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import uvicorn
from standardwebhooks.webhooks import Webhook
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from runtime.clock import Clock
from runtime.http.server import QuietServer
from tests.support.polling import eventually_async

SECRET = "whsec_" + "c2VjcmV0IG9mIHRlc3RzLCAyNCBieXRlcw=="
TOLERANCE_S = 300
Responder = Callable[["VerifiedRequest"], Awaitable[Response] | Response]


@dataclass(frozen=True)
class VerifiedRequest:
    """One request whose signature was verified."""

    id: str
    timestamp: str
    raw: bytes
    headers: dict[str, str]

    @property
    def body(self) -> Any:
        return json.loads(self.raw)


@dataclass
class WebhookReceiver:
    """A receiver whose `answer` decides each answer; `requests` has the verified requests in the order of their arrival.

    The age of a signature counts by `clock`, or by the real time without one.
    """

    answer: Responder = field(default=lambda _: Response(status_code=204))
    clock: Clock | None = None
    requests: list[VerifiedRequest] = field(default_factory=list)
    url: str = ""

    async def __call__(self, request: Request) -> Response:
        raw = await request.body()
        headers = dict(request.headers)
        if self.clock is None:
            Webhook(SECRET).verify(raw, headers)
        else:
            verify_at(self.clock.now_ms(), raw.decode(), headers)
        verified = VerifiedRequest(headers["webhook-id"], headers["webhook-timestamp"], raw, headers)
        self.requests.append(verified)
        response = self.answer(verified)
        return response if isinstance(response, Response) else await response


def verify_at(now_ms: int, body: str, headers: Mapping[str, str]) -> None:
    """Verify a message as the library does, by another clock than the real one."""
    sent_at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
    assert headers["webhook-signature"] == Webhook(SECRET).sign(headers["webhook-id"], sent_at, body)
    assert abs(now_ms / 1000 - sent_at.timestamp()) <= TOLERANCE_S


@asynccontextmanager
async def webhook_receiver(answer: Responder | None = None, clock: Clock | None = None) -> AsyncIterator[WebhookReceiver]:
    """Start a receiver on a free loopback port and yield it."""
    receiver = WebhookReceiver(clock=clock) if answer is None else WebhookReceiver(answer, clock=clock)
    app = Starlette(routes=[Route("/hook", receiver.__call__, methods=["POST"])])
    server = QuietServer(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical", lifespan="off", ws="none"))
    task = asyncio.create_task(server.serve())
    try:
        await eventually_async(lambda: server.started, within_s=10, every_s=0.005)
        receiver.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/hook"
        yield receiver
    finally:
        server.should_exit = server.force_exit = True
        await task
