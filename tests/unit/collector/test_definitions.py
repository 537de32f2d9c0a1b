import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from collector.definitions import Sources, follow_sources
from runtime.bus.memory import MemoryBus
from runtime.bus.port import Outgoing
from runtime.errors import Permanent
from runtime.settings import Settings
from segments.definitions import Source, encode
from tests.support.collector import source

TOPIC = "onefold.definitions"


async def say(bus: MemoryBus, key: str, definition: Source | bytes | None) -> None:
    value = encode(definition) if isinstance(definition, Source) else definition
    await (await bus.producer()).send([Outgoing(TOPIC, value, key.encode())])


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - the follower has no event to wait for
            await asyncio.sleep(0.005)


@asynccontextmanager
async def following(bus: MemoryBus) -> AsyncIterator[Sources]:
    sources = Sources()
    task = asyncio.create_task(follow_sources(Settings(), bus, sources))
    try:
        yield sources
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.fixture
async def bus() -> MemoryBus:
    bus = MemoryBus()
    await bus.create_topics({TOPIC: (1, {})})
    return bus


async def test_the_last_version_of_a_source_counts_once_all_is_read(bus: MemoryBus) -> None:
    await say(bus, "Source/shop", source("shop", "old", "kept"))
    await say(bus, "Source/shop", source("shop", "kept", "new"))
    await say(bus, "Source/gone", source("gone", "gone"))
    await say(bus, "Source/gone", None)
    async with following(bus) as sources:
        assert sources.name_of("kept") is None
        await asyncio.wait_for(sources.caught_up.wait(), 10)
        assert [sources.name_of(key) for key in ("old", "kept", "new", "gone")] == [None, "shop", "shop", None]


async def test_an_empty_topic_is_read_to_its_end(bus: MemoryBus) -> None:
    async with following(bus) as sources:
        await asyncio.wait_for(sources.caught_up.wait(), 10)


async def test_a_key_holds_and_ends_with_its_definition(bus: MemoryBus) -> None:
    async with following(bus) as sources:
        await sources.caught_up.wait()
        await say(bus, "Source/shop", source("shop", "first"))
        await until(lambda: sources.name_of("first") == "shop")
        await say(bus, "Source/shop", source("shop", "second"))
        await until(lambda: sources.name_of("second") == "shop")
        assert sources.name_of("first") is None
        await say(bus, "Source/shop", None)
        await until(lambda: sources.name_of("second") is None)


async def test_what_is_no_source_changes_nothing(bus: MemoryBus) -> None:
    await say(bus, "Source/shop", source("shop", "key"))
    await say(bus, "Source/shop", b"nonsense")
    await say(bus, "Segment/vip", b"nonsense")
    async with following(bus) as sources:
        await asyncio.wait_for(sources.caught_up.wait(), 10)
        assert sources.name_of("key") == "shop"


async def test_a_missing_topic_is_an_error() -> None:
    with pytest.raises(Permanent, match="create it first"):
        await follow_sources(Settings(), MemoryBus(), Sources())
