"""Subscribers are notified of sources and tracking plans, both present and later ones."""

import asyncio
from collections.abc import Iterable

from collector.source_registry import Sources, follow_sources
from domain.definitions.kinds import AnyDefinition, encode_definition, load_yaml
from runtime.bus.memory import MemoryBus
from runtime.bus.port import Outgoing
from runtime.settings import Settings
from tests.support.collector_harness import source

TOPIC = "onefold.definitions"
[PLAN] = load_yaml("{apiVersion: onefold/v1, kind: TrackingPlan, metadata: {name: shop}, spec: {mode: block}}", "plan")


async def test_plans_come_and_go_with_their_definition() -> None:
    bus = MemoryBus()
    await bus.create_topics({TOPIC: (1, {})})
    producer = await bus.producer()
    heard: asyncio.Queue[set[str]] = asyncio.Queue()

    def told(definitions: Iterable[AnyDefinition]) -> None:
        heard.put_nowait({definition.key for definition in definitions})

    async def until(keys: set[str]) -> None:
        async with asyncio.timeout(10):
            while await heard.get() != keys:
                pass

    sources = Sources()
    following = asyncio.create_task(follow_sources(Settings(), bus, sources))
    try:
        await asyncio.wait_for(sources.caught_up.wait(), 10)
        sources.subscribe(told)
        await until(set())
        shop = source("shop", "key")
        await producer.send(
            [
                Outgoing(TOPIC, encode_definition(shop), b"Source/shop"),
                Outgoing(TOPIC, encode_definition(PLAN), b"TrackingPlan/shop"),
            ]
        )
        await until({"Source/shop", "TrackingPlan/shop"})
        await producer.send([Outgoing(TOPIC, b"nonsense", b"TrackingPlan/other"), Outgoing(TOPIC, None, b"TrackingPlan/shop")])
        await until({"Source/shop"})
        assert heard.empty()
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
