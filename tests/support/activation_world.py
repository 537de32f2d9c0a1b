"""Workers of destinations over the twins of broker and store; the receivers are real HTTP servers on loopback."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from activation.webhook import WebhookChannel
from activation.worker import Worker
from domain.definitions.kinds import Destination
from profile_store.memory import MemoryStore
from runtime.bus.memory import MemoryBus
from runtime.bus.port import Outgoing
from runtime.clock import Clock, SystemClock
from runtime.metrics import Metrics
from runtime.settings import Settings
from schemas.codec import decode, encode
from schemas.records import Delivery, Transition
from tests.support.webhook_receiver import SECRET

SETTINGS = Settings(commit_interval_ms=50)
TOPICS = ("memberships", "deliveries", "quarantine", "retries")


class ActivationWorld:
    """The clock, the broker and the store, which outlive a worker."""

    def __init__(self, clock: Clock | None = None, settings: Settings = SETTINGS) -> None:
        self.settings = settings
        self.clock = clock or SystemClock()
        self.bus = MemoryBus()
        self.store: MemoryStore = MemoryStore(self.clock)

    async def open(self) -> "ActivationWorld":
        await self.bus.create_topics({self.settings.topic(name): (3, {}) for name in TOPICS})
        await self.bus.create_topics({self.settings.topic("definitions"): (1, {})})
        return self

    def worker(self, hook: Destination, secret: str = SECRET) -> Worker:
        channel = WebhookChannel(hook.spec, secret, self.clock)
        return Worker(self.settings, self.bus, self.store, self.clock, Metrics(), hook, channel)

    @asynccontextmanager
    async def working(self, *hooks: Destination) -> AsyncIterator[None]:
        """Run a worker for each destination, and stop them at the end."""
        stop = asyncio.Event()
        tasks = [asyncio.create_task(self.worker(hook).run(stop)) for hook in hooks]
        try:
            yield
        finally:
            stop.set()
            await asyncio.gather(*tasks)

    @asynccontextmanager
    async def killed_at_the_end(self, hook: Destination) -> AsyncIterator[Worker]:
        """Run a worker, and end it at once and without its last commit, as a kill does."""
        worker = self.worker(hook)
        task = asyncio.create_task(worker.run(asyncio.Event()))
        try:
            yield worker
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def publish(self, transitions: Sequence[Transition]) -> None:
        producer = await self.bus.producer()
        topic = self.settings.topic("memberships")
        await producer.send([Outgoing(topic, encode(t), key=t.profile_id.encode()) for t in transitions])

    async def read(self, topic: str, kind: Any) -> list[Any]:
        reader = await self.bus.reader([self.settings.topic(topic)])
        polled = await reader.poll(0, 100_000)
        return [decode(kind, record.value) for records in polled.values() for record in records if record.value is not None]

    async def deliveries(self) -> list[Delivery]:
        return await self.read("deliveries", Delivery)

    async def ended(self) -> list[Delivery]:
        """Return the deliveries that do not wait."""
        return [delivery for delivery in await self.deliveries() if delivery.state != "waiting"]

    async def committed(self, name: str = "hook") -> int:
        return sum(
            (await self.bus.committed(self.settings.group(f"activation.{name}"), self.settings.topic("memberships"))).values()
        )
