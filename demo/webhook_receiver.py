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

from runtime.http.server import QuietServer

PATH: Final = "/webhook"
MAX_BYTES: Final = 256 * 1024
_BUSY_ONE_IN: Final = 25


class Receiver:
    """Keeps the ids of verified messages in `ids_file`, so that a later run on the same directory knows them.

    About one message in 25 is answered with 503 at its first attempt, as receivers do in life.
    """

    def __init__(self, secret: str, ids_file: Path) -> None:
        self._webhook, self._ids_file = Webhook(secret), ids_file
        self.ids: set[str] = set(ids_file.read_text(encoding="ascii").split()) if ids_file.exists() else set()
        self.responses: Counter[str] = Counter()
        self._refused_once: set[str] = set()

    async def __call__(self, request: Request) -> Response:
        raw = bytearray()
        async for chunk in request.stream():
            raw += chunk
            if len(raw) > MAX_BYTES:
                return self._respond("too large", 413)
        try:
            self._webhook.verify(bytes(raw), dict(request.headers))
        except (WebhookVerificationError, binascii.Error, ValueError):
            return self._respond("bad signature", 401)
        return self._receive(request.headers["webhook-id"])

    def _receive(self, key: str) -> Response:
        if key in self.ids:
            return self._respond("repeated", 200)
        if _is_busy(key) and key not in self._refused_once:
            self._refused_once.add(key)
            return self._respond("busy", 503)
        with self._ids_file.open("a", encoding="ascii") as file:
            file.write(key + "\n")
        self.ids.add(key)
        return self._respond("accepted", 200)

    def _respond(self, outcome: str, status: int) -> Response:
        self.responses[outcome] += 1
        return Response(status_code=status, headers={"retry-after": "1"} if status == 503 else None)


def _is_busy(key: str) -> bool:
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
