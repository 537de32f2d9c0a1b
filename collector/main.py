"""The collector process: the HTTP server, the producer, and the follower of the definitions."""

import asyncio
import socket
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any, Final

import uvicorn

from collector.app import create_app
from collector.free_space import watch_free_space
from collector.http_protocol import bounded_protocol
from collector.producers import ReconnectingProducer
from collector.routes import email_tracking
from collector.source_registry import Sources, follow_sources
from runtime.bus.kafka import KafkaBus
from runtime.clock import SystemClock
from runtime.errors import Misconfigured, Transient
from runtime.health import HealthServer, QuietServer
from runtime.metrics import Metrics
from runtime.settings import Settings

SEND_TIMEOUT_MS: Final = 8_000
"""Shorter than any client waits, so that the client is answered 503 and does not have to guess."""
SHUTDOWN_GRACE_S: Final = 15
KEEP_ALIVE_S: Final = 75
BACKLOG: Final = 2048


async def main(settings: Settings, stop: asyncio.Event) -> None:
    """Serve until `stop`, then answer the requests in progress. Raises Misconfigured when the port cannot be opened."""
    metrics, sources = Metrics(), Sources()

    async def check_sources() -> None:
        if not sources.caught_up.is_set():
            raise Transient("the sources have not been read yet")

    async with KafkaBus(settings, timeout_ms=SEND_TIMEOUT_MS) as bus:
        producer = ReconnectingProducer(bus)
        app = create_app(settings, producer, SystemClock(), sources, metrics)
        free_space = app.state.parts.free_space
        config = uvicorn.Config(
            app,
            http=bounded_protocol(settings.collector_max_header_bytes, settings.collector_max_body_bytes),
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,  # ONEFOLD_COLLECTOR_TRUSTED_HOPS decides which proxies to trust
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=SHUTDOWN_GRACE_S,
            backlog=BACKLOG,
        )
        try:
            async with HealthServer(settings, metrics, {"kafka": bus.ping, "sources": check_sources}, free_space.waits):
                with _listen(settings) as listener:
                    background = (
                        producer.connect(),
                        follow_sources(settings, bus, sources, partial(metrics.set, "onefold_bad_definitions")),
                        watch_free_space(free_space, settings, metrics),
                    )
                    await _serve(QuietServer(config), listener, stop, background)
        finally:
            await email_tracking.aclose(app.state.parts)
            await producer.aclose()


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.collector_host else socket.AF_INET
    try:
        return socket.create_server((settings.collector_host, settings.collector_port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise Misconfigured(
            "the collector cannot listen: is ONEFOLD_COLLECTOR_PORT taken? Is ONEFOLD_COLLECTOR_HOST an address of this machine?"
        ) from error


async def _serve(
    server: QuietServer, listener: socket.socket, stop: asyncio.Event, background: Sequence[Coroutine[Any, Any, None]]
) -> None:
    """Serve until `stop`, or until a background task fails; its error is raised after the server has shut down in order."""
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="http")
    background_tasks = [asyncio.create_task(task) for task in (*background, _until(stop))]
    pending: set[asyncio.Task[Any]] = {serving, *background_tasks}
    try:
        while not (stop.is_set() or serving.done()):
            finished, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in finished:
                task.result()
    finally:
        server.should_exit = True
        await asyncio.wait({serving})
        for task in background_tasks:
            task.cancel()
        await asyncio.gather(*background_tasks, return_exceptions=True)
    serving.result()


async def _until(stop: asyncio.Event) -> None:
    await stop.wait()
