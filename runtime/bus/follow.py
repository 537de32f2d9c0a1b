"""Following a compacted topic of one partition: read to its end, then go on for ever."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from runtime.bus.port import Bus, Consumer, Record
from runtime.errors import Transient
from runtime.logs import get_logger

POLL_MS: Final = 500
MAX_RECORDS: Final = 500
QUIET_POLLS: Final = 2
"""Compaction may have taken the last record, so silence of a broker that answers is an end too."""
RETRY_S: Final = 1.0

log: Final = get_logger(__name__)


async def follow(bus: Bus, topic: str, take: Callable[[Record], object], show: Callable[[], Awaitable[None]]) -> None:
    """`take` every record in order; `show` once the end of now is reached, and after every later poll that brought something.

    So of a key with many versions only the last one is ever shown. Waits while the broker is away. Raises Permanent when the
    topic does not exist.
    """
    reader: Consumer | None = None
    end = reached = quiet = 0
    complete = False
    try:
        while True:
            try:
                if reader is None:
                    end = (await bus.end_offsets(topic)).get(0, 0)
                    reader = await bus.reader([topic])
                if not complete and (reached >= end or quiet >= QUIET_POLLS):
                    await bus.ping()
                    complete = True
                    await show()
                polled = [record for found in (await reader.poll(POLL_MS, MAX_RECORDS)).values() for record in found]
                quiet = 0 if polled else quiet + 1
                for record in polled:
                    take(record)
                    reached = record.offset + 1
                if polled and complete:
                    await show()
            except Transient as error:
                log.warning("following_waits", topic=topic, error=str(error))
                await asyncio.sleep(RETRY_S)
    finally:
        if reader is not None:
            await reader.aclose()
