"""A webhook receiver on loopback for tests: a real HTTP server that answers as it is told."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from standardwebhooks.webhooks import Webhook
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from runtime.health import QuietServer

SECRET = "whsec_" + "c2VjcmV0IG9mIHRlc3RzLCAyNCBieXRlcw=="
Answer = Callable[["Got"], Awaitable[Response] | Response]


@dataclass(frozen=True)
class Got:
    """One request whose signature was verified."""

    id: str
    timestamp: str
    raw: bytes
    headers: dict[str, str]

    @property
    def body(self) -> Any:
        return json.loads(self.raw)


@dataclass
class Receiver:
    """`answer` decides each response; `got` holds the requests in the order of their arrival."""

    answer: Answer = field(default=lambda _: Response(status_code=204))
    got: list[Got] = field(default_factory=list)
    url: str = ""

    async def __call__(self, request: Request) -> Response:
        raw = await request.body()
        headers = dict(request.headers)
        Webhook(SECRET).verify(raw, headers)
        got = Got(headers["webhook-id"], headers["webhook-timestamp"], raw, headers)
        self.got.append(got)
        answer = self.answer(got)
        return answer if isinstance(answer, Response) else await answer


@asynccontextmanager
async def receiving(answer: Answer | None = None) -> AsyncIterator[Receiver]:
    """A receiver on a free loopback port."""
    receiver = Receiver() if answer is None else Receiver(answer)
    app = Starlette(routes=[Route("/hook", receiver.__call__, methods=["POST"])])
    server = QuietServer(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical", lifespan="off", ws="none"))
    task = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(10):
            while not server.started:  # noqa: ASYNC110 - uvicorn offers a flag alone
                await asyncio.sleep(0.005)
        receiver.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/hook"
        yield receiver
    finally:
        server.should_exit = server.force_exit = True
        await task
