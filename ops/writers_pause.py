"""Holding the stream workers: they wait, and go on by themselves."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

from profile_store.port import Place, ProfileStore
from runtime.bus.port import Bus
from runtime.errors import Transient
from runtime.settings import Settings

HOLD_AGAIN_S: Final = 15.0
LOOK_S: Final = 0.25


class Hold:
    """A hold under way. While `lapse` is true it is not lifted at the end: it ends by itself, a minute later."""

    lapse: bool = False


@asynccontextmanager
async def holding(store: ProfileStore) -> AsyncIterator[Hold]:
    """Hold every writer, again and again since a hold lapses; let them go on at the end, however it comes."""

    async def again() -> None:
        while True:
            await asyncio.sleep(HOLD_AGAIN_S)
            with suppress(Transient):
                await store.hold(True)

    await store.hold(True)
    task, hold = asyncio.create_task(again()), Hold()
    try:
        yield hold
    finally:
        task.cancel()
        if not hold.lapse:
            await store.hold(False)


async def until(condition: Callable[[], Awaitable[bool]], within_s: float, look_s: float = LOOK_S) -> bool:
    """Whether a condition came true in time; asked every `look_s`."""
    loop = asyncio.get_running_loop()
    end = loop.time() + within_s
    while not await condition():
        if loop.time() > end:
            return False
        await asyncio.sleep(look_s)
    return True


async def places_of(settings: Settings, bus: Bus, *topics: str) -> list[Place]:
    """The places of all partitions of these topics of the register."""
    found = []
    for topic in topics:
        numbers = await bus.end_offsets(settings.topic(topic))
        found += [Place(topic, number, len(numbers)) for number in sorted(numbers)]
    return found
