"""The surroundings of a rebuild in tests: a broker and a store in memory, and a real ClickHouse that has consumed everything."""

import random
from collections.abc import Sequence

from pydantic import SecretStr

from ops.prepare import create_topics
from ops.rebuild.rebuild import Rebuild
from profile_store.memory import MemoryStore
from runtime.bus.memory import MemoryBus
from runtime.bus.port import Outgoing
from runtime.clock import ManualClock
from runtime.settings import Settings
from schemas.codec import decode, encode
from schemas.events import Event
from schemas.records import Touched
from tests.support.events import SECRET, event
from tests.support.running_consumers import running_consumers
from tests.support.simulated_pipeline import Pipeline
from warehouse.client import Warehouse
from warehouse.writer import ClickHouseWriter


def random_events(seed: int) -> list[Event]:
    """Return anonymous browsing, log-ins on shared devices and traits: enough for links and conflicts."""
    rng = random.Random(seed)
    events = []
    for n in range(300):
        user, cookie = f"u{rng.randrange(15)}", f"cookie-{rng.randrange(25)}"
        identifiers = rng.choice([{"anonymous_id": cookie}, {"user_id": user}, {"anonymous_id": cookie, "user_id": user}])
        kind, traits = rng.choice([("track", {}), ("identify", {"name": f"Nguyễn Ánh {n}", "điểm": n / 2})])
        events.append(
            event(
                identifiers,
                id=f"m{n}",
                type="identify" if kind == "identify" else "track",
                name="Xem hàng" if kind == "track" else "",
                traits=traits,
                time_ms=1_750_000_000_000 + rng.randrange(10**9),
            )
        )
    return events


class RebuildWorld:
    """The surroundings of a rebuild: a broker, a store, and a ClickHouse that has consumed everything."""

    def __init__(self, settings: Settings, warehouse: Warehouse) -> None:
        # The secret by which the events of the tests are hashed: a rebuild hashes what they imply.
        self.settings = settings.model_copy(update={"tenant_secret": SecretStr(SECRET.decode())})
        self.warehouse = warehouse
        self.clock = ManualClock()
        self.bus, self.store = MemoryBus(self.clock), MemoryStore(self.clock)
        self.writer = ClickHouseWriter(warehouse)

    async def load_events(self, events: Sequence[Event]) -> None:
        """Publish events, and have them consumed."""
        await create_topics(self.settings, self.bus)
        topic = self.settings.topic("events")
        producer = await self.bus.producer()
        await producer.send([Outgoing(topic, encode(item), key=item.owner.encode()) for item in events])
        await self.consume()

    def rebuild(self) -> Rebuild:
        return Rebuild(self.settings, self.bus, self.store, self.warehouse, self.clock, quiet_s=0.02)

    async def consume(self) -> None:
        """Let the consumers insert everything that was published since they last ran."""
        async with running_consumers(self.settings, self.bus, self.writer, self.clock) as consumers:
            await consumers.wait_until_caught_up()

    async def run_agents_and_consume(self, pipeline: Pipeline, published_counts: dict[tuple[str, int], int]) -> None:
        """Run the agents until they are idle, publish their new output on the broker, and let the consumers insert it."""
        await pipeline.drain()
        await create_topics(self.settings, self.bus)
        producer = await self.bus.producer()
        for (topic, number), log in sorted(pipeline.logs.items()):
            name, unpublished = self.settings.topic(topic), log[published_counts.get((topic, number), 0) :]
            published_counts[topic, number] = len(log)
            await producer.send([Outgoing(name, record.value, record.key, number) for record in unpublished])
        await self.consume()

    async def touched(self) -> list[Touched]:
        topic = self.settings.topic("touched")
        count = sum((await self.bus.end_offsets(topic)).values())
        reader = await self.bus.reader([topic])
        touches: list[Touched] = []
        while len(touches) < count:
            for records in (await reader.poll(1_000, 1_000)).values():
                touches += [decode(Touched, record.value) for record in records]
        return touches
