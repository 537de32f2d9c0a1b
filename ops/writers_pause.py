"""Pausing the writers of the profile store: the agents wait, and go on by themselves when the pause ends."""

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
    """A pause in progress. While `leave_to_expire` is true the pause is not lifted at the end, and expires a minute later."""

    leave_to_expire: bool = False


@asynccontextmanager
async def writers_paused(store: ProfileStore) -> AsyncIterator[WriterPause]:
    """Pause every writer for the duration of the block, and let the writers go on at the end, even after an error.

    A pause expires by itself, so that a process that dies does not stop the pipeline for good; hence it is renewed until
    the end. Raises Transient when the store does not answer at the beginning.
    """

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
    """Return all topic partitions of these topics of the register."""
    topic_partitions = []
    for topic in topics:
        end_offsets = await bus.end_offsets(settings.topic(topic))
        topic_partitions += [TopicPartition(topic, partition, len(end_offsets)) for partition in sorted(end_offsets)]
    return topic_partitions
