"""The collector process: the HTTP server, the producer, and the follower of the definitions."""

import asyncio
import socket
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from collector.app import create_app
from collector.free_space import watch_free_space
from collector.producers import ReconnectingProducer
from collector.responses import render_refusal
from collector.routes import email_tracking
from collector.source_registry import Sources, follow_sources
from domain.text_caches import cache_sizes, limit_caches
from runtime.bus.kafka import KafkaBus
from runtime.clock import SystemClock
from runtime.errors import Transient
from runtime.health import HealthServer
from runtime.http.limits import HttpLimits
from runtime.http.server import QuietServer, closed_counter, make_server, open_listener
from runtime.metrics import Metrics
from runtime.settings import Settings

SEND_TIMEOUT_MS: Final = 8_000
"""Shorter than any client waits, so that the client is answered 503 and does not have to guess."""
SHUTDOWN_GRACE_S: Final = 15


async def main(settings: Settings, stop: asyncio.Event) -> None:
    """Serve until `stop`, then answer the requests in progress. Raises Misconfigured when the port cannot be opened."""
    metrics, sources = Metrics(), Sources()
    limit_caches(settings.cache_bytes)
    metrics.refresh_by(lambda: metrics.set_all("onefold_cache_bytes", cache_sizes()))

    async def check_sources() -> None:
        if not sources.caught_up.is_set():
            raise Transient("the sources have not been read yet")

    async with KafkaBus(settings, timeout_ms=SEND_TIMEOUT_MS) as bus:
        producer = ReconnectingProducer(bus)
        app = create_app(settings, producer, SystemClock(), sources, metrics)
        free_space = app.state.parts.free_space
        server = make_server(
            app,
            http_limits(settings),
            grace_s=SHUTDOWN_GRACE_S,
            count_closed=closed_counter(metrics, "collector"),
            render_refusal=render_refusal,
        )
        try:
            async with HealthServer(settings, metrics, {"kafka": bus.ping, "sources": check_sources}, free_space.waits):
                host, port = settings.collector_host, settings.collector_port
                with open_listener(host, port, name="the collector", setting="ONEFOLD_COLLECTOR") as listener:
                    background = (
                        producer.connect(),
                        follow_sources(settings, bus, sources, partial(metrics.set, "onefold_bad_definitions")),
                        watch_free_space(free_space, settings, metrics),
                    )
                    await _serve(server, listener, stop, background)
        finally:
            await email_tracking.aclose(app.state.parts)
            await producer.aclose()


def http_limits(settings: Settings) -> HttpLimits:
    """Return the limits of the collector's port. Behind proxies, all connections come from few addresses, so none has a share."""
    limits = HttpLimits.of(
        settings, max_header_bytes=settings.collector_max_header_bytes, max_body_bytes=settings.collector_max_body_bytes
    )
    return replace(limits, max_unproven_per_peer=limits.max_connections) if settings.collector_trusted_hops else limits


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
