"""The running consumers of a test: the production loop of every feed, over a broker in memory and a real ClickHouse."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from consumers.feeds import FEEDS
from consumers.loop import ConsumerLoop
from runtime.bus.memory import MemoryBus
from runtime.clock import Clock
from runtime.metrics import Metrics
from runtime.settings import Settings
from schemas.codec import decode
from schemas.records import QuarantineRecord
from tests.support.polling import eventually_async
from warehouse.writer import WarehouseWriter

BATCH_MS = 5
CAUGHT_UP_WITHIN_S = 60


class RunningConsumers:
    """The consumers that `running_consumers` started."""

    def __init__(self, settings: Settings, bus: MemoryBus) -> None:
        self._settings, self._bus = settings, bus

    async def count_inserted(self, topic: str) -> int:
        """Return how many records of a topic (the register's name) are in ClickHouse, and committed."""
        committed = await self._bus.committed(self._settings.group(f"warehouse-{topic}"), self._settings.topic(topic))
        return sum(offset - self._bus.first_offset for offset in committed.values())

    async def has_caught_up(self) -> bool:
        """Tell whether ClickHouse has every record of every topic that it keeps."""
        for feed in FEEDS:
            ends = await self._bus.end_offsets(self._settings.topic(feed.topic))
            if await self.count_inserted(feed.topic) < sum(end - self._bus.first_offset for end in ends.values()):
                return False
        return True

    async def wait_until_caught_up(self) -> None:
        await eventually_async(self.has_caught_up, within_s=CAUGHT_UP_WITHIN_S, every_s=0.005)

    async def quarantined(self) -> list[QuarantineRecord]:
        """Return what the consumers put into quarantine."""
        topic = self._settings.topic("quarantine")
        remaining = sum(end - self._bus.first_offset for end in (await self._bus.end_offsets(topic)).values())
        reader, collected = await self._bus.reader([topic]), list[QuarantineRecord]()
        while remaining:
            for records in (await reader.poll(1_000, 1_000)).values():
                remaining -= len(records)
                collected += [decode(QuarantineRecord, record.value) for record in records]
        return [record for record in collected if record.stage == "consumers"]


@asynccontextmanager
async def running_consumers(
    settings: Settings, bus: MemoryBus, writer: WarehouseWriter, clock: Clock
) -> AsyncIterator[RunningConsumers]:
    """Run the loop of every feed until the block ends. Fails the block if a loop fails, or puts a record into quarantine."""
    consumers = RunningConsumers(settings, bus)
    quick, metrics = settings.model_copy(update={"consumer_batch_ms": BATCH_MS}), Metrics()
    loops = [ConsumerLoop(quick, bus, writer, clock, metrics, feed) for feed in FEEDS]
    never = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(loop.run(never), name=loop.name) for loop in loops]
        try:
            yield consumers
        finally:
            # Cancelled rather than stopped: a stop would wait for the current poll, a second in all.
            for task in tasks:
                task.cancel()
    assert await consumers.quarantined() == []
