"""A bench for the timers' loop: the test itself does what the segment agent would do with the touches."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from profile_store.memory import MemoryStore
from profile_store.port import TopicPartition, Writes
from runtime.bus.memory import MemoryBus
from runtime.bus.port import Outgoing, Partition, Producer
from runtime.clock import ManualClock
from runtime.errors import Transient
from runtime.settings import Settings
from schemas.codec import decode
from schemas.instants import NEVER
from schemas.records import Touched
from streams.assigned_partitions import AssignedPartitions
from streams.timers import Timers

PARTITION = TopicPartition("touched", 0, 1)


class CountingStore(MemoryStore):
    """A store that counts its polls, and may fail."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.poll_count = 0
        self.limits: list[int] = []
        self.faults: list[Transient] = []

    async def due_timers(self, topic_partition: TopicPartition, until_ms: int, limit: int) -> list[tuple[str, int]]:
        self.poll_count += 1
        self.limits.append(limit)
        if self.faults:
            raise self.faults.pop()
        return await super().due_timers(topic_partition, until_ms, limit)


class FailingProducer:
    """A producer that raises the given faults, one for each call, before it works."""

    def __init__(self, inner: Producer, faults: list[Transient]) -> None:
        self._inner, self._faults = inner, faults

    async def send(self, records: Sequence[Outgoing]) -> list[tuple[int, int]]:
        if self._faults:
            raise self._faults.pop()
        return await self._inner.send(records)

    async def aclose(self) -> None:
        await self._inner.aclose()


class TimersBench:
    """A stand-in for the segment agent.

    `set` saves timers as a slice of live touches does, `evaluate` as a slice of timer touches does.
    """

    def __init__(self) -> None:
        self.clock, self.settings = ManualClock(), Settings()
        self.store = CountingStore(self.clock)
        self.bus = MemoryBus(self.clock)
        self.late_ms: list[int] = []
        self.faults: list[Transient] = []
        self.evaluated: list[tuple[str, int]] = []
        self.evaluated_count = 0

    async def start(self, partitions: int = 1) -> None:
        topic = self.settings.topic("touched")
        await self.bus.create_topics({topic: (partitions, {})})
        self.assigned = AssignedPartitions(self.bus, self.store, "touched", 0)
        await self.assigned.assign([Partition(topic, number) for number in range(partitions)])
        producer = FailingProducer(await self.bus.producer(), self.faults)
        self.timers = self.make_timers(producer, self.store)

    def make_timers(self, producer: Producer, store: MemoryStore) -> Timers:
        return Timers(
            self.settings,
            store=store,
            producer=producer,
            clock=self.clock,
            assigned=self.assigned,
            observe_lateness=self.late_ms.append,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the loop of the timers inside the block, as a worker does."""
        loop = asyncio.create_task(self.timers.run())
        try:
            yield
        finally:
            loop.cancel()
            await asyncio.gather(loop, return_exceptions=True)

    async def lose_memory(self) -> None:
        """Start over as a new worker would: what it knew of its partitions and of their timers is gone."""
        self.assigned = AssignedPartitions(self.bus, self.store, "touched", 0)
        await self.assigned.assign([Partition(self.settings.topic("touched"), 0)])
        self.timers = self.make_timers(await self.bus.producer(), self.store)

    async def set(self, **timers: int | None) -> None:
        """Set timers (due that many ms from now) as a slice of live touches does."""
        now_ms = self.clock.now_ms()
        await self.save({name: None if in_ms is None else now_ms + in_ms for name, in_ms in timers.items()})

    async def save(self, due: dict[str, int | None], position: int | None = None) -> None:
        expected = (await self.store.checkpoint(PARTITION)).position
        position = (expected or 0) if position is None else position
        await self.store.save(PARTITION, expected, position, Writes(timers=due))
        self.assigned.advance(PARTITION, position, min((at for at in due.values() if at is not None), default=NEVER))

    async def poll(self) -> int:
        """Take one turn of the loop. Returns how many touches were emitted."""
        return sum([await self.timers.emit_due(place) for place in self.timers.partitions_to_poll()])

    async def advance_and_poll(self, by_ms: int = 50) -> int:
        self.clock.advance(by_ms)
        return await self.poll()

    async def touches(self) -> list[Touched]:
        """Return all touches that were emitted."""
        reader = await self.bus.reader([self.settings.topic("touched")])
        polled = (await reader.poll(0, 1_000_000)).values()
        return [decode(Touched, record.value) for records in polled for record in records]

    async def evaluate(self, limit: int = 1_000_000, **next_in_ms: int) -> None:
        """Apply a slice of at most `limit` touches: each clears its profile's timer, or sets the next one that many ms ahead."""
        touches = (await self.touches())[self.evaluated_count : self.evaluated_count + limit]
        self.evaluated_count += len(touches)
        now_ms = self.clock.now_ms()
        self.evaluated += [(touched.profile_id, touched.at_ms) for touched in touches]
        due = {t.profile_id: now_ms + next_in_ms[t.profile_id] if t.profile_id in next_in_ms else None for t in touches}
        await self.save(due, self.evaluated_count)
