"""A connection that is made when it is first needed, so that a process can start while the service is away."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, Generic, Protocol, TypeVar

from runtime.clock import Clock
from runtime.errors import Transient

RETRY_PAUSE_MS: Final = 3_000


class Closable(Protocol):
    """A connection that can be closed."""

    async def aclose(self) -> Any:
        """Close it."""
        ...


T = TypeVar("T", bound=Closable)


class LazyConnection(Generic[T]):
    """Makes the connection once. For `retry_pause_ms` after a failure callers get Transient at once, instead of a time-out each."""

    def __init__(self, connect: Callable[[], Awaitable[T]], clock: Clock, retry_pause_ms: int = RETRY_PAUSE_MS) -> None:
        self._connect = connect
        self._clock = clock
        self._retry_pause_ms = retry_pause_ms
        self._connection: T | None = None
        self._failed_ms: int | None = None
        self._lock = asyncio.Lock()

    async def get(self) -> T:
        """Return the connection, and make it if needed. Raises what making it raises, and Transient shortly after a failure."""
        async with self._lock:
            if self._connection is not None:
                return self._connection
            if self._failed_ms is not None and self._clock.now_ms() - self._failed_ms < self._retry_pause_ms:
                raise Transient("the service did not answer a moment ago: try again")
            try:
                self._connection = await self._connect()
            except Exception:
                self._failed_ms = self._clock.now_ms()
                raise
            return self._connection

    async def aclose(self) -> None:
        """Close the connection if it was made."""
        if self._connection is not None:
            await self._connection.aclose()
