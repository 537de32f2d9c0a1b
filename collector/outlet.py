"""The producer of a collector that starts while the broker is away."""

import asyncio
from collections.abc import Sequence
from typing import Final

from runtime.bus.port import Bus, Outgoing, Producer
from runtime.errors import Transient

RETRY_S: Final = 1.0


class Outlet:
    """A Producer that connects in the background. Until then every send raises Transient: clients hear 503 and keep their data."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._inner: Producer | None = None

    async def connect(self) -> None:
        """Try until the broker answers."""
        while self._inner is None:
            try:
                self._inner = await self._bus.producer()
            except Transient:
                await asyncio.sleep(RETRY_S)

    async def send(self, records: Sequence[Outgoing]) -> list[tuple[int, int]]:
        """As Producer.send."""
        if self._inner is None:
            raise Transient("the broker has not answered yet")
        return await self._inner.send(records)

    async def aclose(self) -> None:
        """Flush and close."""
        if self._inner is not None:
            await self._inner.aclose()
