"""Ending a process when Kafka turns out to have another log than the one that it has worked on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from runtime.bus.port import Bus
from runtime.errors import AnotherLog, Transient
from runtime.logs import get_logger

CHECK_INTERVAL_S: Final = 5.0

log: Final = get_logger(__name__)


async def watch_log(bus: Bus) -> None:
    """Ask the bus again and again which log Kafka has, until cancelled. Raises AnotherLog when it is no longer the one in use.

    What the process has in memory, offsets above all, stands for the log that it began with. So the process has to end: the one
    that its supervisor starts instead waits until an operator has decided.
    """
    first_offset: int | None = None
    while True:
        await asyncio.sleep(CHECK_INTERVAL_S)
        try:
            await bus.ping()
        except AnotherLog:
            if bus.in_use:
                raise
        except Transient:
            continue  # whoever needs the broker waits for it as well, and says so
        else:
            if first_offset not in (None, bus.first_offset):
                raise AnotherLog("another Kafka log was adopted meanwhile")
            first_offset = bus.first_offset


@asynccontextmanager
async def stopping_with_log(bus: Bus, stop: asyncio.Event) -> AsyncIterator[None]:
    """Set `stop` when Kafka turns out to have another log, as long as the context is open."""

    async def watch() -> None:
        try:
            await watch_log(bus)
        except AnotherLog as error:
            log.error("another_log", reason=str(error))  # noqa: TRY400 - the text says all
            stop.set()

    task = asyncio.create_task(watch(), name="log")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
