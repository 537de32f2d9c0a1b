"""The collector process."""

import asyncio
import socket
from collections.abc import Coroutine
from typing import Any, Final

import uvicorn

from collector.app import create_app
from collector.source_registry import Sources, follow_sources
from collector.producers import Outlet
from collector.http_protocol import protocol
from runtime.bus.kafka import KafkaBus
from runtime.clock import SystemClock
from runtime.errors import Misconfigured, Transient
from runtime.health import HealthServer, QuietServer
from runtime.metrics import Metrics
from runtime.settings import Settings

SEND_WITHIN_MS: Final = 8_000
"""Shorter than any client waits, so that it hears 503 and does not have to guess."""
GRACE_S: Final = 15
KEEP_ALIVE_S: Final = 75
BACKLOG: Final = 2048


async def main(settings: Settings, stop: asyncio.Event) -> None:
    """Serve until `stop`; requests under way are answered first. Raises Misconfigured when the port cannot be had."""
    metrics, sources = Metrics(), Sources()

    async def sources_known() -> None:
        if not sources.caught_up.is_set():
            raise Transient("the sources have not been read yet")

    async with KafkaBus(settings, timeout_ms=SEND_WITHIN_MS) as bus:
        outlet = Outlet(bus)
        app = create_app(settings, outlet, SystemClock(), sources, metrics)
        config = uvicorn.Config(
            app,
            http=protocol(settings.collector_max_header_bytes, settings.collector_max_body_bytes),
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,  # whom to believe is ONEFOLD_COLLECTOR_TRUSTED_HOPS's to say
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=GRACE_S,
            backlog=BACKLOG,
        )
        try:
            async with HealthServer(settings, metrics, {"kafka": bus.ping, "sources": sources_known}):
                with _listening(settings) as listener:
                    await _serve(QuietServer(config), listener, stop, follow_sources(settings, bus, sources), outlet)
        finally:
            await app.state.desk.aclose()
            await outlet.aclose()


def _listening(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.collector_host else socket.AF_INET
    try:
        return socket.create_server((settings.collector_host, settings.collector_port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise Misconfigured(
            "the collector cannot listen: is ONEFOLD_COLLECTOR_PORT taken, ONEFOLD_COLLECTOR_HOST of this machine?"
        ) from error


async def _serve(
    server: QuietServer, listener: socket.socket, stop: asyncio.Event, follower: Coroutine[Any, Any, None], outlet: Outlet
) -> None:
    """Serve until `stop`, or until a task beside it fails: its error is raised once the server has ended in order."""
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="http")
    connecting = asyncio.create_task(outlet.connect(), name="producer")
    following = asyncio.create_task(follower, name="sources")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    beside = (connecting, following, stopping)
    waiting: set[asyncio.Task[Any]] = {serving, *beside}
    try:
        while not (stop.is_set() or serving.done()):
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
    finally:
        server.should_exit = True
        await asyncio.wait({serving})
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
    serving.result()
