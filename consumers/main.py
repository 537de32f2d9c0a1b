"""The consumer process: one loop per topic, one connection to ClickHouse."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence

from consumers.feeds import FEEDS
from consumers.loop import ConsumerLoop
from runtime.bus.kafka import KafkaBus
from runtime.bus.watch_log import stopping_with_log
from runtime.clock import SystemClock
from runtime.errors import Transient
from runtime.health import HealthServer, Ping
from runtime.metrics import Metrics
from runtime.retry import retry
from runtime.settings import Settings
from warehouse.adopted_logs import AdoptedLogTable
from warehouse.client import Warehouse
from warehouse.writer import ClickHouseWriter

CONNECT_ATTEMPTS = 30
CONNECT_PAUSE_MS = 2_000


async def main(settings: Settings, stop: asyncio.Event) -> None:
    """Run every feed until `stop`. Raises Transient when ClickHouse does not start, and the first error that ends a loop."""
    metrics = Metrics()
    warehouse = await retry(lambda: Warehouse.connect(settings), attempts=CONNECT_ATTEMPTS, base_ms=100, max_ms=CONNECT_PAUSE_MS)
    writer = ClickHouseWriter(warehouse)
    try:
        async with KafkaBus(settings, read_adopted=AdoptedLogTable(warehouse).adopted_log) as bus, stopping_with_log(bus, stop):
            loops = [ConsumerLoop(settings, bus, writer, SystemClock(), metrics, feed) for feed in FEEDS]
            pings: dict[str, Ping] = {"clickhouse": writer.ping, "kafka": bus.ping, **{loop.name: _ping_of(loop) for loop in loops}}
            async with HealthServer(settings, metrics, pings, bus.waits):
                await run_together([loop.run for loop in loops], stop)
    finally:
        await writer.aclose()


def _ping_of(loop: ConsumerLoop) -> Ping:
    async def ping() -> None:
        if not loop.healthy:
            raise Transient(f"{loop.name} retries a failed step")

    return ping


async def run_together(runs: Sequence[Callable[[asyncio.Event], Coroutine[None, None, None]]], stop: asyncio.Event) -> None:
    """Run all until each has ended. The first that fails sets `stop`, so that the others end in order; its error is raised."""
    tasks = [asyncio.create_task(run(stop)) for run in runs]
    finished, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    stop.set()
    await asyncio.wait(tasks)
    for task in finished:
        task.result()
