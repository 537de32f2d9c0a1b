"""Groups after a rebuild: the documents equal the old ones, no profile is touched needlessly, and no deleted group returns."""

import random
from typing import Any

import pytest

from consumers.feeds import FEEDS
from domain.definitions.kinds import Segment, load_yaml
from domain.definitions.segment_plan import segment_plan_of
from domain.identity.groups import GroupDocument, decode_group
from domain.identity.rules import CompiledIdentityRules, HouseholdRules
from domain.segments.plan import SegmentPlan
from ops.prepare import create_topics
from ops.rebuild.rebuild import Rebuild
from profile_store.memory import MemoryStore
from profile_store.port import TopicPartition
from runtime.bus.memory import MemoryBus
from runtime.bus.port import Outgoing
from runtime.clock import ManualClock
from runtime.settings import Settings
from schemas.codec import encode
from schemas.events import Event
from schemas.records import Touched
from tests.support.events import START_MS, event
from tests.support.simulated_pipeline import Pipeline
from warehouse.client import Warehouse
from warehouse.writer import ClickHouseWriter

pytestmark = pytest.mark.clickhouse
TEXT = """
apiVersion: onefold/v1
kind: Segment
metadata: {name: family}
spec: {where: {household: {members: {at_least: 2}}}}
---
apiVersion: onefold/v1
kind: Segment
metadata: {name: enterprise}
spec: {where: {account: {trait: {path: plan, value: enterprise}}}}
"""
SEGMENTS = [document for document in load_yaml(TEXT, "test") if isinstance(document, Segment)]
RULES = CompiledIdentityRules(household=HouseholdRules(address_trait="address", shared_phone=True, shared_traits=("city",)))


class RebuildWithGroupDefinitions(Rebuild):
    """A rebuild with given segments and rules instead of those on the definitions topic."""

    async def _live_plan_and_rules(self) -> tuple[SegmentPlan, CompiledIdentityRules]:
        return segment_plan_of(SEGMENTS), RULES


def profile_event(user: str, number: int, *, group: str = "", traits: Any = None, **others: str) -> Event:
    return event(
        {"user_id": user, **others},
        id=f"m{number}",
        type="group" if group else "identify",
        time_ms=START_MS + number,
        properties={"groupId": group} if group else {},
        traits=traits or {},
    )


def history(rng: random.Random) -> list[Event]:
    found = []
    for number in range(60):
        user = f"khách-{rng.randrange(8)}"
        if rng.random() < 0.4:
            traits: dict[str, str | None] = {"plan": rng.choice(("enterprise", "free"))} if rng.random() < 0.5 else {}
            found.append(profile_event(user, number, group=rng.choice(("Công ty A", "b")), traits=traits))
        else:
            traits = {"address": rng.choice(("12 Lê Lợi, Huế", "9 Lê Lợi, Huế", None)), "city": rng.choice(("Huế", "Vinh"))}
            phone = {"phone": f"+8490123456{rng.randrange(4)}"} if rng.random() < 0.5 else {}
            found.append(profile_event(user, number, traits=traits, **phone))
    return found


async def consume(pipeline: Pipeline, bus: MemoryBus, warehouse: Warehouse, settings: Settings) -> None:
    """Publish on the broker what the pipeline published, and insert it into ClickHouse."""
    writer, producer = ClickHouseWriter(warehouse), await bus.producer()
    for (topic, number), log in sorted(pipeline.logs.items()):
        await producer.send([Outgoing(settings.topic(topic), record.value, record.key, number) for record in log])
    for feed in FEEDS:
        records = [record for (topic, _), log in pipeline.logs.items() if topic == feed.topic for record in log]
        for table, rows in feed.decide(records, settings, 0).rows.items():
            await writer.insert(table, rows)
        await writer.save_positions(settings.topic(feed.topic), await bus.end_offsets(settings.topic(feed.topic)))


async def documents(store: MemoryStore) -> dict[str, GroupDocument]:
    return {name: decode_group(data) async for name, data in store.scan("group")}


@pytest.mark.parametrize("seed", range(3))
async def test_rebuild_restores_groups_and_processing_continues(
    clickhouse_settings: Settings, warehouse: Warehouse, seed: int
) -> None:
    settings, clock, rng = clickhouse_settings, ManualClock(), random.Random(seed)
    clock.advance(400_000_000)
    store, bus = MemoryStore(clock), MemoryBus(clock)
    pipeline = Pipeline(rng, SEGMENTS, partitions=settings.partitions, clock=clock, rules=RULES, external_store=store)
    events = history(rng)
    for item in events:
        pipeline.feed(item)
        if rng.random() < 0.2:
            await pipeline.drain()
    await pipeline.drain()
    await create_topics(settings, bus)
    await consume(pipeline, bus, warehouse, settings)
    before = await documents(store)
    assert before
    await RebuildWithGroupDefinitions(settings, bus, store, warehouse, clock, quiet_s=0.02).run()
    assert await documents(store) == before
    for place in [TopicPartition("groups", number, settings.partitions) for number in range(settings.partitions)]:
        end = (await bus.end_offsets(settings.topic("groups")))[place.partition]
        assert (await store.checkpoint(place)).position == end
    for user in sorted({item.owner for item in events}):
        pipeline.append("touched", user.encode(), encode(Touched(profile_id=user, node=user, cause="rebuild", at_ms=1)))
    moved = profile_event("khách-0", 1_000, traits={"address": "1 Trần Phú, Huế", "city": "Đà Lạt"})
    pipeline.feed(moved)
    await pipeline.drain()
    plain = Pipeline(random.Random(1), SEGMENTS, clock=clock, rules=RULES)
    for item in (*events, moved):
        plain.feed(item)
    await plain.drain()
    assert isinstance(plain.store, MemoryStore)
    assert listed(await documents(store)) == listed(await documents(plain.store))


def listed(held: dict[str, GroupDocument]) -> dict[str, list[str]]:
    return {name: group.members() for name, group in held.items() if group.members()}
