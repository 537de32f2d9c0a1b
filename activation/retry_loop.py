"""Tries the waiting messages of a destination again when they are due."""

import asyncio
from typing import Final

from activation.deliverer import Deliverer
from activation.schedule import Schedule, Waiting
from runtime.clock import Clock
from runtime.retry import Stopped

TICK_S: Final = 0.02
"""How often the loop looks, in memory, whether a message is due. A sleep and no wait for an instant, because clocks may be set."""


class RetryLoop:
    """Makes at most `max_attempts` further attempts at once, so that the first attempts with new messages keep their share."""

    def __init__(self, schedule: Schedule, deliverer: Deliverer, clock: Clock, stop: asyncio.Event, max_attempts: int) -> None:
        self._schedule = schedule
        self._deliverer = deliverer
        self._clock = clock
        self._stop = stop
        self._max_attempts = max_attempts
        self._attempts: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Try again what becomes due, until the process stops, and let the last attempts end. Raises what an attempt raised.

        Cancelled, it ends the attempts; their messages wait in `retries`.
        """
        try:
            while not self._stop.is_set():
                for waiting in self._schedule.take_due(self._clock.now_ms(), self._max_attempts - len(self._attempts)):
                    self._attempts.add(asyncio.create_task(self._attempt(waiting), name="retry"))
                await self._collect()
            while self._attempts:
                await self._collect()
        finally:
            for attempt in self._attempts:
                attempt.cancel()
            await asyncio.gather(*self._attempts, return_exceptions=True)

    async def _collect(self) -> None:
        """Wait for a tick, or until an attempt is over, and raise what the attempts raised."""
        if not self._attempts:
            await asyncio.sleep(TICK_S)
            return
        done, self._attempts = await asyncio.wait(self._attempts, timeout=TICK_S, return_when=asyncio.FIRST_COMPLETED)
        for attempt in done:
            attempt.result()

    async def _attempt(self, waiting: Waiting) -> None:
        try:
            await self._deliverer.try_again(waiting)
        except Stopped:
            return
        finally:
            self._schedule.release(waiting)
