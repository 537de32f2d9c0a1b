"""The slots in which the queries of one user run, so that nobody's queries shut another user out."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from embedded.clickhouse.limits import UserLimits, UserRole
from embedded.clickhouse.protocol import ClientDisconnected, QueryRefused, owner_of


class UserSlots:
    """So many queries of a user run, so many more wait for a while. KILL has a slot of its own, since it is what makes room."""

    def __init__(self, user: str, limits: UserLimits) -> None:
        self._user, self._limits = user, limits
        self._query_slots = asyncio.Semaphore(limits.queries)
        self._kill_slot = asyncio.Semaphore(1)
        self._waiting = 0

    @contextlib.asynccontextmanager
    async def take(self, *, is_kill: bool, disconnected: "asyncio.Future[None] | None" = None) -> AsyncIterator[None]:
        """Wait for a slot, and occupy it while the context is open.

        Raises:
            QueryRefused: 202 when too many wait already, or when no slot became free in time.
            ClientDisconnected: when the client left while it waited.
        """
        slots = self._kill_slot if is_kill else self._query_slots
        if slots.locked():
            await self._wait_for(slots, disconnected)
        else:
            await slots.acquire()
        try:
            yield
        finally:
            slots.release()

    async def _wait_for(self, slots: asyncio.Semaphore, disconnected: "asyncio.Future[None] | None") -> None:
        if self._waiting >= self._limits.waiting:
            raise self._refusal(f"{self._waiting} more wait")
        self._waiting += 1
        acquisition = asyncio.ensure_future(slots.acquire())
        ends: set[asyncio.Future[Any]] = {acquisition} if disconnected is None else {acquisition, disconnected}
        try:
            await asyncio.wait(ends, timeout=self._limits.wait_s, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            if acquisition.done():
                slots.release()
            raise
        finally:
            self._waiting -= 1
            acquisition.cancel()  # without effect on one that is done
        if acquisition.done():
            return
        if disconnected is not None and disconnected.done():
            raise ClientDisconnected
        raise self._refusal(f"none ended in {self._limits.wait_s:.0f} s")

    def _refusal(self, cause: str) -> QueryRefused:
        text = (
            f"Too many simultaneous queries for user {self._user}: {self._limits.queries} run and {cause}. "
            "Wait for one to end, or end one with KILL QUERY"
        )
        return QueryRefused(202, text, "TOO_MANY_SIMULTANEOUS_QUERIES")


@dataclass(frozen=True, slots=True)
class Caller:
    """The user behind a request."""

    name: str
    role: UserRole
    limits: UserLimits
    slots: UserSlots

    def carrier(self, query_id: str) -> str:
        """Return what the engine is given to know a query by: its owner and the client's id of it."""
        return f"{owner_of(self.role, self.name)}/{query_id}"
