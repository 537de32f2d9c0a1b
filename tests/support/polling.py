"""The one way in which tests wait for the effect of another task or process."""

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


def eventually(
    probe: Callable[[], T],
    accept: Callable[[T], Any] = bool,
    within_s: float = 60.0,
    *,
    every_s: float = 0.05,
    on_poll: Callable[[], object] | None = None,
    explain: Callable[[], str] = str,
) -> T:
    """Call `probe` until `accept` holds for its value, and return that value.

    `on_poll` runs after each attempt that failed. Raises AssertionError after `within_s` with the last value and what `explain`
    returns; errors of `probe` are not caught.
    """
    end = time.monotonic() + within_s
    while True:
        value = probe()
        if accept(value):
            return value
        if on_poll is not None:
            on_poll()
        assert time.monotonic() < end, _timed_out(within_s, value, explain())
        time.sleep(every_s)


async def eventually_async(
    probe: Callable[[], Any],
    accept: Callable[[Any], Any] = bool,
    within_s: float = 60.0,
    *,
    every_s: float = 0.02,
    on_poll: Callable[[], object] | None = None,
    explain: Callable[[], str] = str,
) -> Any:
    """Do as `eventually` does, without blocking the event loop; `probe` may be a coroutine function.

    A probe that hangs ends with the same bound, as TimeoutError.
    """
    end = time.monotonic() + within_s
    async with asyncio.timeout(within_s + every_s + 1):
        while True:
            result = probe()
            value = await result if inspect.isawaitable(result) else result
            if accept(value):
                return value
            if on_poll is not None:
                on_poll()
            assert time.monotonic() < end, _timed_out(within_s, value, explain())
            await asyncio.sleep(every_s)


def _timed_out(within_s: float, value: object, explanation: str) -> str:
    return f"still not so after {within_s} s; last seen: {value!r}\n{explanation}".rstrip()
