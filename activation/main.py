"""The activation process: a worker for each destination, and the health endpoint."""

import asyncio
import os

from activation.fleet import Fleet
from activation.secret import secret_of
from activation.webhook import WebhookDestination
from activation.worker import Worker
from profile_store.connect import open_store
from runtime.bus.kafka import KafkaBus
from runtime.clock import SystemClock
from runtime.errors import Transient
from runtime.health import HealthServer
from runtime.metrics import Metrics
from runtime.settings import Settings
from domain.definitions.kinds import Destination


async def main(settings: Settings, stop: asyncio.Event) -> None:
    """Run until `stop`; messages under way get a moment to end."""
    clock, metrics = SystemClock(), Metrics()
    store = open_store(settings, clock)
    try:
        async with KafkaBus(settings) as bus:

            def make(definition: Destination) -> Worker:
                secret = secret_of(definition, os.environ, settings.data_dir)
                channel = WebhookDestination(definition.spec, secret, clock)
                return Worker(settings, bus, store, clock, metrics, definition, channel)

            fleet = Fleet(settings, bus, make)

            async def definitions_known() -> None:
                if not fleet.caught_up.is_set():
                    raise Transient("the definitions have not been read yet")

            pings = {"kafka": bus.ping, "redis": store.ping, "definitions": definitions_known}
            async with HealthServer(settings, metrics, pings):
                await fleet.run(stop)
    finally:
        await store.aclose()
