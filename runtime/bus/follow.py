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


async def follow(bus: Bus, topic: str, on_record: Callable[[Record], object], on_update: Callable[[], Awaitable[None]]) -> None:
    """`on_record` every record in order; `on_update` once the end of now is reached, and after every later poll that brought
    something.

    So of a key with many versions only the last one is ever shown. Waits while the broker is away. Raises Permanent when the
    topic does not exist.
    """
    reader: Consumer | None = None
    end_offset = next_offset = quiet_polls = 0
    caught_up = False
    try:
        while True:
            try:
                if reader is None:
                    end_offset = (await bus.end_offsets(topic)).get(0, 0)
                    reader = await bus.reader([topic])
                if not caught_up and (next_offset >= end_offset or quiet_polls >= QUIET_POLLS):
                    await bus.ping()
                    caught_up = True
                    await on_update()
                polled = [record for records in (await reader.poll(POLL_MS, MAX_RECORDS)).values() for record in records]
                quiet_polls = 0 if polled else quiet_polls + 1
                for record in polled:
                    on_record(record)
                    next_offset = record.offset + 1
                if polled and caught_up:
                    await on_update()
            except Transient as error:
                log.warning("following_waits", topic=topic, error=str(error))
                await asyncio.sleep(RETRY_S)
    finally:
        if reader is not None:
            await reader.aclose()
