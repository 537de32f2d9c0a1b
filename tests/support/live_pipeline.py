"""The stream workers and the consumers at work beside a test: broker and store in memory, or a given store; a real ClickHouse."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from faust.types import TP

from consumers.feeds import FEEDS
from ops.apply.backfill_history import History
from ops.apply.removal import Removal
from ops.apply.backfill import Backfill
from ops.writers_pause import until
from ops.prepare import create_topics
from domain.profiles import membership as memberships, fragment as model
from profile_store.memory import MemoryStore
from profile_store.port import Place, ProfileStore
from warehouse.client import Warehouse
from warehouse.writer import ClickHouseWriter
from runtime.bus.memory import MemoryBus
from runtime.bus.port import Outgoing
from runtime.clock import ManualClock
from runtime.settings import Settings
from schemas.codec import decode, encode
from schemas.events import Event
from schemas.records import Transition
from streams.applier import Applier, Exit
from streams.definitions import Definitions, follow_definitions
from streams.assigned_partitions import Places
from streams.step import Step
from streams.steps.group import GroupStep
from streams.steps.link import LinkStep
from streams.steps.segment import SegmentStep
from streams.steps.unify import UnifyStep

POLL_MS = 5
SLICE = 20


class Living:
    """Made by `living`."""

    def __init__(self, settings: Settings, warehouse: Warehouse, store: ProfileStore | None, clock: ManualClock) -> None:
        self.settings, self.warehouse, self.clock = settings, warehouse, clock
        self.bus = MemoryBus(clock)
        self.store: ProfileStore = store or MemoryStore(clock)
        self.writer = ClickHouseWriter(warehouse)
        self.definitions = Definitions(settings)
        self.stopped: list[Exit] = []
        self._said: dict[str, int] = {}

    def backfill(self) -> Backfill:
        """One run of `apply`."""
        return Backfill(self.settings, self.bus, self.store, History(self.settings, self.bus, self.reach), self.clock)

    async def reach(self) -> Warehouse:
        """ClickHouse."""
        return self.warehouse

    def removal(self) -> Removal:
        """One run of `remove`."""
        return Removal(self.settings, self.bus, self.store, self.clock)

    async def consumed(self, topic: str, records: int) -> bool:
        """Whether ClickHouse has so many records of a topic."""
        return self._said.get(self.settings.topic(topic), 0) >= records

    async def tell(self, events: Sequence[Event]) -> None:
        """Events come in."""
        producer = await self.bus.producer()
        topic = self.settings.topic("events")
        await producer.send([Outgoing(topic, encode(one), key=one.owner.encode()) for one in events])

    async def rest(self) -> None:
        """Until all that was said is done and in ClickHouse."""
        assert await until(self._resting, 60, 0.01)

    async def _resting(self) -> bool:
        for topic in ("events", "links", "touched", "groups"):
            ends = await self.bus.end_offsets(self.settings.topic(topic))
            for number, end in ends.items():
                if ((await self.store.standing(Place(topic, number, len(ends)))).position or 0) < end:
                    return False
        for feed in FEEDS:
            topic = self.settings.topic(feed.topic)
            if sum((await self.bus.end_offsets(topic)).values()) > self._said.get(topic, 0):
                return False
        return True

    async def work(self, step: Step, folder: Path) -> None:
        """An agent, for ever."""
        topic = self.settings.topic(step.topic)
        places = Places(self.bus, self.store, step.topic, 0)
        await places.assigned([TP(topic, number) for number in await self.bus.end_offsets(topic)])
        settings = self.settings.model_copy(update={"data_dir": folder})
        applier = Applier(settings, step, places, self.store, await self.bus.producer(), self.clock, self.stopped.append)
        reader = await self.bus.reader([topic])
        while True:
            for partition, records in (await reader.poll(POLL_MS, SLICE)).items():
                place = places.of(partition.number)
                assert place is not None
                assert await applier.apply(place, records, lambda: True)

    async def consume(self) -> None:
        """The consumers, for ever. What they quarantine fails the test."""
        readers = {feed.topic: await self.bus.reader([self.settings.topic(feed.topic)]) for feed in FEEDS}
        while True:
            await asyncio.sleep(0.005)
            for feed in FEEDS:
                topic = self.settings.topic(feed.topic)
                ends = await self.bus.end_offsets(topic)
                left = sum(ends.values()) - self._said.get(topic, 0)
                if not left:
                    continue
                done = 0
                while done < left:
                    for partition, records in (await readers[feed.topic].poll(1_000, 1_000)).items():
                        ends[partition.number] = max(ends[partition.number], records[-1].offset + 1)
                        done += len(records)
                        batch = feed.decide(records, self.settings, self.clock.now_ms())
                        assert not batch.quarantine
                        for table, found in batch.rows.items():
                            await self.writer.insert(table, found)
                await self.writer.note(topic, ends)
                self._said[topic] = self._said.get(topic, 0) + done

    async def transitions(self) -> list[Transition]:
        """All that were said, in order."""
        topic = self.settings.topic("memberships")
        reader, found = await self.bus.reader([topic]), list[Transition]()
        left = sum((await self.bus.end_offsets(topic)).values())
        while len(found) < left:
            for records in (await reader.poll(1_000, 1_000)).values():
                found += [decode(Transition, record.value) for record in records]
        return found

    async def fragments(self) -> dict[str, model.Fragment]:
        """Every owner's."""
        return {owner: model.decode(data) async for owner, data in self.store.scan("fragment")}

    async def held(self) -> dict[str, set[str]]:
        """The segments that each profile is in, of those that are in any."""
        found = {name: memberships.decode(data) async for name, data in self.store.scan("membership")}
        return {name: document.held() for name, document in found.items() if not document.dissolved_into and document.held()}


@asynccontextmanager
async def living(
    settings: Settings, warehouse: Warehouse, folder: Path, store: ProfileStore | None = None, clock: ManualClock | None = None
) -> AsyncIterator[Living]:
    """A small Onefold at work; ends with the block, and fails it if one of its parts failed."""
    world = Living(settings, warehouse, store, clock or ManualClock())
    await create_topics(settings, world.bus)
    known = world.definitions
    arguments = (lambda: known.plan, lambda: known.rules, lambda: known.known)
    steps: list[Step] = [
        UnifyStep(settings, world.store, *arguments),
        LinkStep(settings, world.store, lambda: known.rules),
        SegmentStep(settings, world.store, *arguments),
        GroupStep(settings, world.store, *arguments),
    ]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(follow_definitions(settings, world.bus, known))]
        await known.caught_up.wait()
        tasks += [group.create_task(world.work(step, folder)) for step in steps]
        tasks.append(group.create_task(world.consume()))
        try:
            yield world
        finally:
            for task in tasks:
                task.cancel()
