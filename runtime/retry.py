"""Bounded, jittered retry of Transient faults, and of nothing else."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from runtime.errors import Transient

T = TypeVar("T")


def backoff_ms(attempt: int, base_ms: int, max_ms: int, rng: random.Random) -> int:
    """Full jitter: a random wait up to min(max_ms, base_ms * 2^attempt). `attempt` counts from 0."""
    return rng.randint(0, min(max_ms, base_ms << min(attempt, 30)))


async def retry(
    call: Callable[[], Awaitable[T]],
    *,
    attempts: int,
    base_ms: int = 50,
    max_ms: int = 5_000,
    rng: random.Random | None = None,
    on_retry: Callable[[int, Transient], None] | None = None,
) -> T:
    """What `call` returns; Transient is retried up to `attempts` calls in all, then raised. Other errors pass at once."""
    generator = rng or random.Random()  # noqa: S311 - jitter, not a secret
    for attempt in range(attempts):
        try:
            return await call()
        except Transient as error:
            if attempt + 1 == attempts:
                raise
            if on_retry is not None:
                on_retry(attempt + 1, error)
            await asyncio.sleep(backoff_ms(attempt, base_ms, max_ms, generator) / 1000)
    raise ValueError("attempts must be at least 1")
