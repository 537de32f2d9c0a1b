"""A small Onefold at work beside a test: the stream agents and the consumers over a broker in memory and a real ClickHouse.

The agents are those of `streams.testing`, the consumers those of `running_consumers`: no loop is written again here.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from domain.definitions.live import LiveDefinitions
from domain.profiles.fragment import Fragment, decode_fragment
from domain.profiles.membership import decode_membership
from ops.apply.backfill import Backfill
from ops.apply.backfill_history import BackfillHistory
from ops.apply.removal import DefinitionRemoval
from ops.prepare import create_topics
from profile_store.memory import MemoryStore
from profile_store.port import ProfileStore
from runtime.bus.memory import MemoryBus
from runtime.bus.port import Outgoing
from runtime.clock import ManualClock
from runtime.settings import Settings
from schemas.codec import decode, encode
from schemas.events import Event
from schemas.records import Transition
from streams.agents import build_agents
from streams.hosting import HostedStep, StepDependencies
from streams.testing import RunningStreams, run_streams
from tests.support.running_consumers import RunningConsumers, running_consumers
from warehouse.client import Warehouse
from warehouse.writer import ClickHouseWriter

SLICE_RECORDS = 20


class LivePipeline:
    """A running pipeline, started by `live_pipeline`; `definitions` are those that the agents follow."""

    streams: RunningStreams
    consumers: RunningConsumers
    definitions: LiveDefinitions

    def __init__(
        self, settings: Settings, warehouse: Warehouse, store: ProfileStore | None, clock: ManualClock, bus: MemoryBus | None
    ) -> None:
        self.settings, self.warehouse, self.clock = settings, warehouse, clock
        self.bus = bus or MemoryBus(clock)
        self.store: ProfileStore = store or MemoryStore(clock)

    def build_steps(self, dependencies: StepDependencies) -> list[HostedStep]:
        """Build all agents, and keep the definitions that they follow."""
        self.definitions = dependencies.definitions
        return build_agents(dependencies)

    def backfill(self) -> Backfill:
        """Make one run of `apply`."""
        return Backfill(
            self.settings, self.bus, self.store, BackfillHistory(self.settings, self.bus, self.connect_warehouse), self.clock
        )

    async def connect_warehouse(self) -> Warehouse:
        """Return the test's ClickHouse."""
        return self.warehouse

    def removal(self) -> DefinitionRemoval:
        """Make one run of `remove`."""
        return DefinitionRemoval(self.settings, self.bus, self.store, self.clock)

    async def has_inserted(self, topic: str, records: int) -> bool:
        """Return whether ClickHouse has at least that number of records of a topic."""
        return await self.consumers.count_inserted(topic) >= records

    async def send_events(self, events: Sequence[Event]) -> None:
        """Publish events, as the collector does."""
        producer = await self.bus.producer()
        topic = self.settings.topic("events")
        await producer.send([Outgoing(topic, encode(event), key=event.owner.encode()) for event in events])

    async def wait_until_idle(self) -> None:
        """Wait until the agents have nothing left to do, and ClickHouse has all that they published."""
        await self.streams.wait_until_idle()
        await self.consumers.wait_until_caught_up()

    async def transitions(self) -> list[Transition]:
        """Return all transitions that were published, in order."""
        topic = self.settings.topic("memberships")
        reader, collected = await self.bus.reader([topic]), list[Transition]()
        expected_count = sum((await self.bus.end_offsets(topic)).values())
        while len(collected) < expected_count:
            for records in (await reader.poll(1_000, 1_000)).values():
                collected += [decode(Transition, record.value) for record in records]
        return collected

    async def fragments(self) -> dict[str, Fragment]:
        """Return the fragment of every owner."""
        return {owner: decode_fragment(data) async for owner, data in self.store.scan("fragment")}

    async def segments_by_profile(self) -> dict[str, set[str]]:
        """Return the segments of each profile that is in any."""
        documents = {name: decode_membership(data) async for name, data in self.store.scan("membership")}
        return {
            name: document.active_segments()
            for name, document in documents.items()
            if not document.dissolved_into and document.active_segments()
        }


@asynccontextmanager
async def live_pipeline(
    settings: Settings,
    warehouse: Warehouse,
    folder: Path,
    store: ProfileStore | None = None,
    clock: ManualClock | None = None,
    bus: MemoryBus | None = None,
) -> AsyncIterator[LivePipeline]:
    """Run a small Onefold until the block ends. Fails the block if one of its parts fails."""
    pipeline = LivePipeline(settings, warehouse, store, clock or ManualClock(), bus)
    await create_topics(settings, pipeline.bus)
    stream_settings = settings.model_copy(update={"data_dir": folder, "max_poll_records": SLICE_RECORDS})
    async with (
        run_streams(
            stream_settings, bus=pipeline.bus, store=pipeline.store, clock=pipeline.clock, build_steps=pipeline.build_steps
        ) as pipeline.streams,
        running_consumers(settings, pipeline.bus, ClickHouseWriter(warehouse), pipeline.clock) as pipeline.consumers,
    ):
        yield pipeline
