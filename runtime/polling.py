"""Waiting for a condition that another process brings about: ask, sleep, ask again, give up at a deadline."""

import asyncio
from collections.abc import Awaitable, Callable


async def poll_until(condition: Callable[[], Awaitable[bool]], timeout_s: float, poll_s: float = 0.25) -> bool:
    """Call `condition` every `poll_s` until it returns true; return false when `timeout_s` has passed before that.

    The condition is called at least once, whatever the time-out. Errors that it raises end the wait.
    """
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + timeout_s
    while not await condition():
        if loop.time() > deadline_s:
            return False
        await asyncio.sleep(poll_s)
    return True
