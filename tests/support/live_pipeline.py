"""The stream workers and the consumers at work beside a test: broker and store in memory, or a given store; a real ClickHouse."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from faust.types import TP

from consumers.feeds import FEEDS
from domain.profiles.fragment import Fragment, decode_fragment
from domain.profiles.membership import decode_membership
from ops.apply.backfill import Backfill
from ops.apply.backfill_history import BackfillHistory
from ops.apply.removal import DefinitionRemoval
from ops.prepare import create_topics
from profile_store.memory import MemoryStore
from profile_store.port import ProfileStore, TopicPartition
from runtime.bus.memory import MemoryBus
from runtime.bus.port import Outgoing
from runtime.clock import ManualClock
from runtime.settings import Settings
from schemas.codec import decode, encode
from schemas.events import Event
from schemas.records import Transition
from streams.applier import Applier, ExitCode
from streams.assigned_partitions import AssignedPartitions
from streams.definitions import Definitions, follow_definitions
from streams.step import Step
from streams.steps.group import GroupStep
from streams.steps.link import LinkStep
from streams.steps.segment import SegmentStep
from streams.steps.unify import UnifyStep
from tests.support.polling import eventually_async
from warehouse.client import Warehouse
from warehouse.writer import ClickHouseWriter

POLL_MS = 5
SLICE = 20


class LivePipeline:
    """Made by `live_pipeline`."""

    def __init__(self, settings: Settings, warehouse: Warehouse, store: ProfileStore | None, clock: ManualClock) -> None:
        self.settings, self.warehouse, self.clock = settings, warehouse, clock
        self.bus = MemoryBus(clock)
        self.store: ProfileStore = store or MemoryStore(clock)
        self.writer = ClickHouseWriter(warehouse)
        self.definitions = Definitions(settings)
        self.exits: list[ExitCode] = []
        self._inserted_counts: dict[str, int] = {}

    def backfill(self) -> Backfill:
        """One run of `apply`."""
        return Backfill(
            self.settings, self.bus, self.store, BackfillHistory(self.settings, self.bus, self.connect_warehouse), self.clock
        )

    async def connect_warehouse(self) -> Warehouse:
        """ClickHouse."""
        return self.warehouse

    def removal(self) -> DefinitionRemoval:
        """One run of `remove`."""
        return DefinitionRemoval(self.settings, self.bus, self.store, self.clock)

    async def has_inserted(self, topic: str, records: int) -> bool:
        """Whether ClickHouse has so many records of a topic."""
        return self._inserted_counts.get(self.settings.topic(topic), 0) >= records

    async def send_events(self, events: Sequence[Event]) -> None:
        """Events come in."""
        producer = await self.bus.producer()
        topic = self.settings.topic("events")
        await producer.send([Outgoing(topic, encode(event), key=event.owner.encode()) for event in events])

    async def wait_until_idle(self) -> None:
        """Until all that was said is done and in ClickHouse."""
        await eventually_async(self._is_idle, within_s=60, every_s=0.01)

    async def _is_idle(self) -> bool:
        for topic in ("events", "links", "touched", "groups"):
            ends = await self.bus.end_offsets(self.settings.topic(topic))
            for partition, end in ends.items():
                if ((await self.store.checkpoint(TopicPartition(topic, partition, len(ends)))).position or 0) < end:
                    return False
        for feed in FEEDS:
            topic = self.settings.topic(feed.topic)
            if sum((await self.bus.end_offsets(topic)).values()) > self._inserted_counts.get(topic, 0):
                return False
        return True

    async def run_agent(self, step: Step, folder: Path) -> None:
        """An agent, for ever."""
        topic = self.settings.topic(step.topic)
        assigned = AssignedPartitions(self.bus, self.store, step.topic, 0)
        await assigned.assign([TP(topic, number) for number in await self.bus.end_offsets(topic)])
        settings = self.settings.model_copy(update={"data_dir": folder})
        applier = Applier(
            settings,
            step,
            assigned=assigned,
            store=self.store,
            producer=await self.bus.producer(),
            clock=self.clock,
            stop=self.exits.append,
        )
        reader = await self.bus.reader([topic])
        while True:
            for partition, records in (await reader.poll(POLL_MS, SLICE)).items():
                topic_partition = assigned.get(partition.number)
                assert topic_partition is not None
                assert await applier.apply(topic_partition, records, lambda: True)

    async def run_consumers(self) -> None:
        """The consumers, for ever. What they quarantine fails the test."""
        readers = {feed.topic: await self.bus.reader([self.settings.topic(feed.topic)]) for feed in FEEDS}
        while True:
            await asyncio.sleep(0.005)
            for feed in FEEDS:
                topic = self.settings.topic(feed.topic)
                ends = await self.bus.end_offsets(topic)
                remaining = sum(ends.values()) - self._inserted_counts.get(topic, 0)
                if not remaining:
                    continue
                read_count = 0
                while read_count < remaining:
                    for partition, records in (await readers[feed.topic].poll(1_000, 1_000)).items():
                        ends[partition.number] = max(ends[partition.number], records[-1].offset + 1)
                        read_count += len(records)
                        batch = feed.decide(records, self.settings, self.clock.now_ms())
                        assert not batch.quarantine
                        for table, table_rows in batch.rows.items():
                            await self.writer.insert(table, table_rows)
                await self.writer.save_positions(topic, ends)
                self._inserted_counts[topic] = self._inserted_counts.get(topic, 0) + read_count

    async def transitions(self) -> list[Transition]:
        """All that were said, in order."""
        topic = self.settings.topic("memberships")
        reader, collected = await self.bus.reader([topic]), list[Transition]()
        expected_count = sum((await self.bus.end_offsets(topic)).values())
        while len(collected) < expected_count:
            for records in (await reader.poll(1_000, 1_000)).values():
                collected += [decode(Transition, record.value) for record in records]
        return collected

    async def fragments(self) -> dict[str, Fragment]:
        """Every owner's."""
        return {owner: decode_fragment(data) async for owner, data in self.store.scan("fragment")}

    async def segments_by_profile(self) -> dict[str, set[str]]:
        """The segments that each profile is in, of those that are in any."""
        documents = {name: decode_membership(data) async for name, data in self.store.scan("membership")}
        return {
            name: document.active_segments()
            for name, document in documents.items()
            if not document.dissolved_into and document.active_segments()
        }


@asynccontextmanager
async def live_pipeline(
    settings: Settings, warehouse: Warehouse, folder: Path, store: ProfileStore | None = None, clock: ManualClock | None = None
) -> AsyncIterator[LivePipeline]:
    """A small Onefold at work; ends with the block, and fails it if one of its parts failed."""
    pipeline = LivePipeline(settings, warehouse, store, clock or ManualClock())
    await create_topics(settings, pipeline.bus)
    definitions = pipeline.definitions
    arguments = (lambda: definitions.plan, lambda: definitions.rules, lambda: definitions.next_offset)
    steps: list[Step] = [
        UnifyStep(settings, pipeline.store, *arguments),
        LinkStep(settings, pipeline.store, lambda: definitions.rules),
        SegmentStep(settings, pipeline.store, *arguments),
        GroupStep(settings, pipeline.store, *arguments),
    ]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(follow_definitions(settings, pipeline.bus, definitions))]
        await definitions.caught_up.wait()
        tasks += [group.create_task(pipeline.run_agent(step, folder)) for step in steps]
        tasks.append(group.create_task(pipeline.run_consumers()))
        try:
            yield pipeline
        finally:
            for task in tasks:
                task.cancel()
