"""Holding the stream workers: they wait, and go on by themselves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from profile_store.port import ProfileStore, TopicPartition
from runtime.bus.port import Bus
from runtime.errors import Transient
from runtime.settings import Settings

RENEW_PAUSE_S: Final = 15.0


class WriterPause:
    """A hold under way. While `leave_to_expire` is true it is not lifted at the end: it ends by itself, a minute later."""

    leave_to_expire: bool = False


@asynccontextmanager
async def writers_paused(store: ProfileStore) -> AsyncIterator[WriterPause]:
    """Hold every writer, again and again since a hold lapses; let them go on at the end, however it comes."""

    async def renew() -> None:
        while True:
            await asyncio.sleep(RENEW_PAUSE_S)
            with suppress(Transient):
                await store.pause_writers(True)

    await store.pause_writers(True)
    renewal, pause = asyncio.create_task(renew()), WriterPause()
    try:
        yield pause
    finally:
        renewal.cancel()
        if not pause.leave_to_expire:
            await store.pause_writers(False)


async def topic_partitions_of(settings: Settings, bus: Bus, *topics: str) -> list[TopicPartition]:
    """The places of all partitions of these topics of the register."""
    topic_partitions = []
    for topic in topics:
        end_offsets = await bus.end_offsets(settings.topic(topic))
        topic_partitions += [TopicPartition(topic, partition, len(end_offsets)) for partition in sorted(end_offsets)]
    return topic_partitions
