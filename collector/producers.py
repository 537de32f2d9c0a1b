"""Two wrappers around the producer of the bus: for a broker that is away at the start, and for one that lags."""

import asyncio
from collections.abc import Sequence
from typing import Final

from runtime.bus.port import Bus, Outgoing, Producer
from runtime.errors import Transient
from runtime.retry import retry

CONNECT_BASE_MS: Final = 200
CONNECT_MAX_MS: Final = 2_000
SEND_TIMEOUT_S: Final = 10.0
"""A last resort: the Kafka producer gives up earlier by itself."""


class ReconnectingProducer:
    """A Producer that connects in the background. Until then every send raises Transient: clients get 503 and keep their data."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._inner: Producer | None = None

    async def connect(self) -> None:
        """Connect, and try again until the broker answers."""
        if self._inner is None:
            self._inner = await retry(self._bus.producer, attempts=None, base_ms=CONNECT_BASE_MS, max_ms=CONNECT_MAX_MS)

    async def send(self, records: Sequence[Outgoing]) -> list[tuple[int, int]]:
        """Send the records. Raises Transient while the broker has not answered yet."""
        if self._inner is None:
            raise Transient("the broker has not answered yet")
        return await self._inner.send(records)

    async def aclose(self) -> None:
        """Flush and close the producer, if it was ever connected."""
        if self._inner is not None:
            await self._inner.aclose()


class BoundedProducer:
    """A Producer that bounds the bytes and records that wait for another one, so that a lagging broker costs bounded memory.

    Beyond the bound, or after `timeout_s`, a send raises Transient: clients get 503 at once and keep their data. A request that is
    larger than the bound by itself goes through when nothing else is waiting; otherwise it could never be sent.
    """

    def __init__(self, inner: Producer, max_bytes: int, max_records: int, timeout_s: float = SEND_TIMEOUT_S) -> None:
        self._inner = inner
        self._max_bytes = max_bytes
        self._max_records = max_records
        self._timeout_s = timeout_s
        self.pending_bytes = 0
        self.pending_records = 0

    async def send(self, records: Sequence[Outgoing]) -> list[tuple[int, int]]:
        """Send the records. Raises Transient beyond the bound, or when the broker does not answer in time."""
        size = sum(len(record.key or b"") + len(record.value or b"") for record in records)
        if self.pending_records and (
            self.pending_bytes + size > self._max_bytes or self.pending_records + len(records) > self._max_records
        ):
            raise Transient("too many records wait for the broker")
        self.pending_bytes += size
        self.pending_records += len(records)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._inner.send(records)
        except TimeoutError as error:
            raise Transient("the broker has not answered in time") from error
        finally:
            self.pending_bytes -= size
            self.pending_records -= len(records)

    async def aclose(self) -> None:
        """Close the inner producer."""
        await self._inner.aclose()
