"""Health checks that ask each service: named pings with time limits, served beside the metrics."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from runtime.errors import Misconfigured, Transient
from runtime.metrics import Metrics
from runtime.settings import Settings

Ping = Callable[[], Awaitable[object]]
PING_TIMEOUT_S = 3.0


async def check_all(pings: Mapping[str, Ping]) -> dict[str, str]:
    """Return `ok` or the kind of the error for each ping. One that raises, or does not return in time, is not ok."""

    async def status_of(ping: Ping) -> str:
        try:
            await asyncio.wait_for(_await_ping(ping), PING_TIMEOUT_S)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
            return type(error).__name__
        return "ok"

    statuses = await asyncio.gather(*(status_of(ping) for ping in pings.values()))
    return dict(zip(pings, statuses, strict=True))


async def _await_ping(ping: Ping) -> object:
    return await ping()


class QuietServer(uvicorn.Server):
    """uvicorn without its own signal handling: the process decides when it ends."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HealthServer:
    """Serves `/live`, `/ready` and `/metrics` on the metrics address while its context is open.

    `waits` returns a sentence for each thing that waits for somebody although the process is ready; `/ready` shows them.
    """

    def __init__(
        self, settings: Settings, metrics: Metrics, pings: Mapping[str, Ping], waits: Callable[[], Sequence[str]] = tuple
    ) -> None:
        self._pings = pings
        self._waits = waits
        self._metrics = metrics
        self._address = (settings.metrics_host, settings.metrics_port)
        app = Starlette(routes=[Route("/live", self._live), Route("/ready", self._ready), Route("/metrics", self._exposition)])
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
        self._server = QuietServer(config)
        self._task: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port in use; the setting 0 takes a free one. Only valid once started."""
        return int(self._server.servers[0].sockets[0].getsockname()[1])

    async def __aenter__(self) -> Self:
        try:
            # Bound here: uvicorn would end the whole process over a taken port.
            listener = socket.create_server(self._address)
        except OSError as error:
            raise Misconfigured(
                "the metrics endpoint cannot listen: is ONEFOLD_METRICS_PORT taken? "
                "Is ONEFOLD_METRICS_HOST an address of this machine?"
            ) from error
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]), name="health")
        while not self._server.started:
            if self._task.done():
                listener.close()
                self._task.result()
                raise Transient("the metrics endpoint ended before it was open")
            await asyncio.sleep(0.01)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.should_exit = True
        if self._task is not None:
            await self._task

    async def _live(self, _: Request) -> Response:
        return JSONResponse({"live": True})

    async def _ready(self, _: Request) -> Response:
        checks = await check_all(self._pings)
        ready = all(status == "ok" for status in checks.values())
        body = {"ready": ready, "checks": checks, "waits": list(self._waits())}
        return JSONResponse(body, status_code=200 if ready else 503)

    async def _exposition(self, _: Request) -> Response:
        return Response(self._metrics.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")
