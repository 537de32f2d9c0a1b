"""The activation process: a worker for each destination, and the health endpoint."""

import asyncio
import os
from functools import partial

from activation.fleet import Fleet
from activation.secret import load_secret
from activation.webhook import WebhookChannel
from activation.worker import Worker
from domain.definitions.kinds import Destination
from profile_store.connect import open_store
from runtime.bus.kafka import KafkaBus
from runtime.bus.watch_log import stopping_with_log
from runtime.clock import SystemClock
from runtime.errors import Transient
from runtime.health import HealthServer
from runtime.metrics import Metrics
from runtime.settings import Settings


async def main(settings: Settings, stop: asyncio.Event) -> None:
    """Run until `stop`; messages under way get GRACE_S of their worker to end."""
    clock, metrics = SystemClock(), Metrics()
    store = open_store(settings, clock)
    try:
        async with KafkaBus(settings, read_adopted=store.adopted_log) as bus, stopping_with_log(bus, stop):

            def make_worker(definition: Destination) -> Worker:
                secret = load_secret(definition, os.environ, settings.data_dir)
                channel = WebhookChannel(definition.spec, secret, clock)
                return Worker(settings, bus, store, clock, metrics, definition, channel)

            fleet = Fleet(settings, bus, make_worker, partial(metrics.set, "onefold_bad_definitions"))

            async def ping_definitions() -> None:
                if not fleet.caught_up.is_set():
                    raise Transient("the definitions have not been read yet")

            pings = {"kafka": bus.ping, "redis": store.ping, "definitions": ping_definitions}
            async with HealthServer(settings, metrics, pings, lambda: [*bus.waits(), *fleet.waits()]):
                await fleet.run(stop)
    finally:
        await store.aclose()
