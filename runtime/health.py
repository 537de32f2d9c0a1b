"""Health checks that ask each service: named pings with time limits, served beside the metrics."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Self

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from runtime.errors import Transient
from runtime.http.limits import HttpLimits
from runtime.http.server import QuietServer, closed_counter, make_server, open_listener
from runtime.metrics import Metrics
from runtime.settings import Settings

Ping = Callable[[], Awaitable[object]]
PING_TIMEOUT_S = 3.0
MAX_HEADER_BYTES: Final = 16 * 1024
MAX_BODY_BYTES: Final = 1024
"""Of requests to the metrics endpoint, which need no body."""


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
        limits = HttpLimits.of(settings, max_header_bytes=MAX_HEADER_BYTES, max_body_bytes=MAX_BODY_BYTES)
        self._server: QuietServer = make_server(app, limits, grace_s=1, count_closed=closed_counter(metrics, "metrics"))
        self._task: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port in use; the setting 0 takes a free one. Only valid once started."""
        return int(self._server.servers[0].sockets[0].getsockname()[1])

    async def __aenter__(self) -> Self:
        listener = open_listener(*self._address, name="the metrics endpoint", setting="ONEFOLD_METRICS")
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
