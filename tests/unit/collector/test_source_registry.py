import asyncio
import functools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

import pytest

from collector.source_registry import Sources, follow_sources
from domain.definitions.kinds import Metadata, Source, SourceSpec, WriteKey, encode_definition, key_hash
from runtime.bus.memory import MemoryBus
from runtime.bus.port import Outgoing
from runtime.errors import Permanent
from runtime.settings import Settings
from tests.support.collector_harness import NOW_MS, source
from tests.support.polling import eventually_async

wait_until = functools.partial(eventually_async, within_s=10)

TOPIC = "onefold.definitions"


async def publish(bus: MemoryBus, key: str, definition: Source | bytes | None) -> None:
    value = encode_definition(definition) if isinstance(definition, Source) else definition
    await (await bus.producer()).send([Outgoing(TOPIC, value, key.encode())])


def name_of(sources: Sources, key: str, now_ms: int = NOW_MS) -> str | None:
    found = sources.find(key, now_ms)
    return None if found is None else found.metadata.name


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
    await publish(bus, "Source/shop", source("shop", "old", "kept"))
    await publish(bus, "Source/shop", source("shop", "kept", "new"))
    await publish(bus, "Source/gone", source("gone", "gone"))
    await publish(bus, "Source/gone", None)
    async with following(bus) as sources:
        assert name_of(sources, "kept") is None
        await asyncio.wait_for(sources.caught_up.wait(), 10)
        assert [name_of(sources, key) for key in ("old", "kept", "new", "gone")] == [None, "shop", "shop", None]


async def test_an_empty_topic_is_read_to_its_end(bus: MemoryBus) -> None:
    async with following(bus) as sources:
        await asyncio.wait_for(sources.caught_up.wait(), 10)


async def test_a_key_holds_and_ends_with_its_definition(bus: MemoryBus) -> None:
    async with following(bus) as sources:
        await sources.caught_up.wait()
        await publish(bus, "Source/shop", source("shop", "first"))
        await wait_until(lambda: name_of(sources, "first") == "shop")
        await publish(bus, "Source/shop", source("shop", "second"))
        await wait_until(lambda: name_of(sources, "second") == "shop")
        assert name_of(sources, "first") is None
        await publish(bus, "Source/shop", None)
        await wait_until(lambda: name_of(sources, "second") is None)


async def test_a_source_whose_record_cannot_be_read_is_not_known_until_it_is_written_again(bus: MemoryBus) -> None:
    await publish(bus, "Source/shop", source("shop", "key"))
    await publish(bus, "Source/app", source("app", "other"))
    await publish(bus, "Source/shop", b"nonsense")
    async with following(bus) as sources:
        await asyncio.wait_for(sources.caught_up.wait(), 10)
        assert [name_of(sources, key) for key in ("key", "other")] == [None, "app"]
        assert sources.has_unreadable
        await publish(bus, "Source/shop", source("shop", "key"))
        await wait_until(lambda: name_of(sources, "key") == "shop")
        assert not sources.has_unreadable


async def test_records_of_other_kinds_are_ignored(bus: MemoryBus) -> None:
    await publish(bus, "Source/shop", source("shop", "key"))
    await publish(bus, "Segment/vip", b"nonsense")
    async with following(bus) as sources:
        await asyncio.wait_for(sources.caught_up.wait(), 10)
        assert name_of(sources, "key") == "shop"
        assert not sources.has_unreadable


async def test_a_missing_topic_is_an_error() -> None:
    with pytest.raises(Permanent, match="create it first"):
        await follow_sources(Settings(), MemoryBus(), Sources())


def test_a_key_that_is_rotated_out_ends_by_itself() -> None:
    until = datetime.fromtimestamp(NOW_MS / 1000, UTC)
    spec = SourceSpec(write_keys=(WriteKey(sha256=key_hash("old"), valid_until=until), WriteKey(sha256=key_hash("new"))))
    sources = Sources()
    sources.replace_all({"Source/shop": Source(apiVersion="onefold/v1", kind="Source", metadata=Metadata(name="shop"), spec=spec)})
    assert [name_of(sources, "old", NOW_MS - 1) for _ in range(2)] == ["shop", "shop"]
    assert name_of(sources, "old", NOW_MS) is None
    assert [name_of(sources, "new", NOW_MS + 10**9) for _ in range(2)] == ["shop", "shop"]
