"""The demo's webhook receiver on loopback: believes only what is signed, and remembers which messages it has."""

import asyncio
import binascii
import contextlib
import hashlib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import uvicorn
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from runtime.health import QuietServer

PATH: Final = "/webhook"
MOST_BYTES: Final = 256 * 1024
_BUSY_ONE_IN: Final = 25


class Receiver:
    """Keeps the ids of verified messages in `kept`, so that a later run on the same directory knows them.

    About one message in 25 is answered with 503 at its first attempt, as receivers do in life.
    """

    def __init__(self, secret: str, kept: Path) -> None:
        self._webhook, self._kept = Webhook(secret), kept
        self.ids: set[str] = set(kept.read_text(encoding="ascii").split()) if kept.exists() else set()
        self.answers: Counter[str] = Counter()
        self._refused: set[str] = set()

    async def __call__(self, request: Request) -> Response:
        raw = bytearray()
        async for chunk in request.stream():
            raw += chunk
            if len(raw) > MOST_BYTES:
                return self._answer("too large", 413)
        try:
            self._webhook.verify(bytes(raw), dict(request.headers))
        except (WebhookVerificationError, binascii.Error, ValueError):
            return self._answer("bad signature", 401)
        return self._take(request.headers["webhook-id"])

    def _take(self, key: str) -> Response:
        if key in self.ids:
            return self._answer("repeated", 200)
        if _busy(key) and key not in self._refused:
            self._refused.add(key)
            return self._answer("busy", 503)
        with self._kept.open("a", encoding="ascii") as file:
            file.write(key + "\n")
        self.ids.add(key)
        return self._answer("taken", 200)

    def _answer(self, what: str, status: int) -> Response:
        self.answers[what] += 1
        return Response(status_code=status, headers={"retry-after": "1"} if status == 503 else None)


def _busy(key: str) -> bool:
    return hashlib.sha256(key.encode()).digest()[0] % _BUSY_ONE_IN == 0


@asynccontextmanager
async def serving(receiver: Receiver) -> AsyncIterator[str]:
    """Serve the receiver on a free loopback port; gives its URL."""
    app = Starlette(routes=[Route(PATH, receiver.__call__, methods=["POST"])])
    server = QuietServer(
        uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical", lifespan="off", ws="none", timeout_graceful_shutdown=1)
    )
    task = asyncio.create_task(server.serve(), name="receiver")
    try:
        while not server.started and not task.done():  # noqa: ASYNC110 - uvicorn offers a flag alone
            await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}{PATH}"
    finally:
        server.should_exit = True
        with contextlib.suppress(asyncio.CancelledError):
            await task
