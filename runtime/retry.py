"""The one way to try again: full jitter between the attempts, for Transient faults and for nothing else.

A fault of a broker or a store hits every process at the same instant. If all of them waited the same time, they would also come
back at the same instant and hit the recovering service together. Full jitter spreads them: before attempt n the caller waits a
random time between 0 and min(max_ms, base_ms * 2^n).

Example: with base_ms=200 and max_ms=10_000 the waits are at most 200, 400, 800, 1600, 3200, 6400, 10 000, 10 000 ... ms, and half
of that on average.

StateLost is a Transient fault, but it is never retried here: the store has lost writes of this process, and the same call made
again would silently work on the older state. Only a new start from the stored position makes up for the loss.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from runtime.errors import StateLost, Transient

T = TypeVar("T")
OnRetry = Callable[[int, Transient], None]
"""Called before each wait, with the number of failed attempts so far and the last fault."""

_MAX_DOUBLINGS: Final = 30
"""Larger exponents cannot change a wait, but they would build huge integers in a loop that runs for days."""


class Stopped(Exception):
    """The process ends, so the call was given up before it succeeded."""


def backoff_ms(attempt: int, base_ms: int, max_ms: int, rng: random.Random) -> int:
    """Return a random wait between 0 and min(max_ms, base_ms * 2^attempt); `attempt` counts from 0."""
    return rng.randint(0, min(max_ms, base_ms << min(attempt, _MAX_DOUBLINGS)))


class Backoff:
    """Growing waits of one caller. `reset` after a success makes the next wait short again."""

    def __init__(self, base_ms: int, max_ms: int, rng: random.Random | None = None) -> None:
        self._base_ms = base_ms
        self._max_ms = max_ms
        self._rng = rng or random.Random()  # noqa: S311 - jitter, not a secret
        self.attempts = 0
        """How many waits were handed out since the start or the last reset."""

    def next_ms(self) -> int:
        """Return the next wait in milliseconds."""
        wait_ms = backoff_ms(self.attempts, self._base_ms, self._max_ms, self._rng)
        self.attempts += 1
        return wait_ms

    def reset(self) -> None:
        """Start again with the shortest wait."""
        self.attempts = 0

    async def wait(self) -> None:
        """Sleep for the next wait."""
        await asyncio.sleep(self.next_ms() / 1000)


async def retry(
    call: Callable[[], Awaitable[T]],
    *,
    attempts: int | None,
    base_ms: int = 50,
    max_ms: int = 5_000,
    rng: random.Random | None = None,
    on_retry: OnRetry | None = None,
) -> T:
    """Return what `call` returns, calling it up to `attempts` times in all; None means until it succeeds.

    Raises the last Transient fault when all attempts failed. Every other error, StateLost among them, is raised at once.
    """
    if attempts is not None and attempts < 1:
        raise ValueError("attempts must be at least 1")
    backoff = Backoff(base_ms, max_ms, rng)
    while True:
        try:
            return await call()
        except StateLost:
            raise
        except Transient as error:
            if backoff.attempts + 1 == attempts:
                raise
            if on_retry is not None:
                on_retry(backoff.attempts + 1, error)
        await backoff.wait()


async def retry_until_stopped(
    call: Callable[[], Awaitable[T]],
    stopped: asyncio.Event | Callable[[], bool],
    *,
    base_ms: int = 50,
    max_ms: int = 5_000,
    rng: random.Random | None = None,
    on_retry: OnRetry | None = None,
    reset_when: Callable[[], bool] | None = None,
) -> T:
    """Return what `call` returns, calling it until it succeeds. Raises Stopped when the caller is to stop first.

    An event wakes the wait; a predicate is asked before each wait. `call` is made at least once, also when the caller is to stop
    already: what is under way is finished if it can be. `reset_when` is for a call that runs for long and may succeed in between:
    when it answers true after a fault, that fault counts as the first one. Every error but Transient, and StateLost, is raised at
    once.
    """
    backoff = Backoff(base_ms, max_ms, rng)
    while True:
        try:
            return await call()
        except StateLost:
            raise
        except Transient as error:
            if reset_when is not None and reset_when():
                backoff.reset()
            if on_retry is not None:
                on_retry(backoff.attempts + 1, error)
            last_error = error
        if await _stopped_during(stopped, backoff.next_ms()):
            raise Stopped("the process ends before the call has succeeded") from last_error


async def _stopped_during(stopped: asyncio.Event | Callable[[], bool], wait_ms: int) -> bool:
    """Wait for `wait_ms`. Return true, without waiting to the end, when the caller is to stop."""
    if not isinstance(stopped, asyncio.Event):
        if stopped():
            return True
        await asyncio.sleep(wait_ms / 1000)
        return False
    # Asked first: with a wait of 0 ms, `wait_for` gives up before it sees that the event is set.
    if stopped.is_set():
        return True
    try:
        await asyncio.wait_for(stopped.wait(), wait_ms / 1000)
    except TimeoutError:
        return False
    return True
