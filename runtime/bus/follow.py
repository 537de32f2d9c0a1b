"""Following a compacted topic of one partition: read it to its end, then go on for as long as the process runs.

The end is reached when the reader's position has come to the end offset that the broker names, and not when a few polls bring
nothing. A poll also brings nothing while the partition's leader is away, however long the topic is; a process that took silence
for the end would start to work as if nothing were defined.

Example: a topic has the offsets 0 to 4, so its end offset is 5. While the reader's position is 3 the follower has not caught up,
whether polls bring records or not. When the record 4 was compacted away, the position passes over it to 5 without a record.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar

from runtime.bus.port import Bus, Partition, Reader
from runtime.errors import Transient
from runtime.logs import get_logger
from runtime.retry import retry

POLL_MS: Final = 500
MAX_RECORDS: Final = 500
RETRY_BASE_MS: Final = 200
RETRY_MAX_MS: Final = 5_000

T = TypeVar("T")
log: Final = get_logger(__name__)


class Projection(Protocol):
    """A state that is a fold over the records of one topic."""

    def apply(self, key: bytes | None, value: bytes | None, offset: int) -> None:
        """Take in the next record. Never raises for what a record contains."""
        ...

    def advance_to(self, next_offset: int) -> None:
        """Note that no record before `next_offset` is missing."""
        ...


async def do_nothing() -> None:
    """Handle an update by doing nothing."""


class TopicFollower:
    """Feeds `projection` with the records of `topic`, in their order.

    `caught_up` is set once all records are applied that the topic had when `run` began, and `on_update` has returned for the first
    time. So the first update already has the last record of each key.
    """

    def __init__(self, bus: Bus, topic: str, projection: Projection, on_update: Callable[[], Awaitable[None]] = do_nothing) -> None:
        self._bus = bus
        self._topic = topic
        self._projection = projection
        self._on_update = on_update
        self.caught_up = asyncio.Event()

    async def run(self) -> None:
        """Follow the topic until it is cancelled; `on_update` is awaited at the end of the topic and after each later change.

        Waits while the broker is away. Raises Permanent when the topic does not exist, and what `on_update` raises.
        """
        reader = await self._retry(lambda: self._bus.reader([self._topic]))
        try:
            await self._read_to_end(reader)
            await self._on_update()
            self.caught_up.set()
            while True:
                if await self._retry(lambda: self._apply_poll(reader)):
                    await self._on_update()
        finally:
            await reader.aclose()

    async def _read_to_end(self, reader: Reader) -> None:
        end_offset = await self._retry(self._end_offset)
        while (position := await self._retry(lambda: reader.position(Partition(self._topic, 0)))) < end_offset:
            await self._retry(lambda: self._apply_poll(reader))
            # Asked again, as the end may have moved back: a broker that lost its last records never brings them.
            end_offset = min(end_offset, await self._retry(self._end_offset))
        self._projection.advance_to(position)

    async def _end_offset(self) -> int:
        return (await self._bus.end_offsets(self._topic)).get(0, 0)

    async def _apply_poll(self, reader: Reader) -> int:
        """Apply the records of one poll. Return how many there were."""
        records = [record for polled in (await reader.poll(POLL_MS, MAX_RECORDS)).values() for record in polled]
        for record in records:
            self._projection.apply(record.key, record.value, record.offset)
        return len(records)

    async def _retry(self, call: Callable[[], Awaitable[T]]) -> T:
        def log_fault(attempt: int, error: Transient) -> None:
            log.warning("following_waits", topic=self._topic, attempt=attempt, error=str(error))

        return await retry(call, attempts=None, base_ms=RETRY_BASE_MS, max_ms=RETRY_MAX_MS, on_retry=log_fault)
