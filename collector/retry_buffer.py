"""Events whose sender cannot send again: kept in memory and tried again for a while, within bounds."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final

from collector.problems import Refusal
from runtime.logs import get_logger
from runtime.retry import backoff_ms

MAX_WAITING: Final = 10_000
KEEP_S: Final = 600.0
BASE_MS: Final = 200
MAX_MS: Final = 10_000

log: Final = get_logger(__name__)

Send = Callable[[], Awaitable[None]]


class Spool:
    """`lost` is called once for every event that is given up: too many wait, `keep_s` is over, or the process ends."""

    def __init__(self, lost: Callable[[], None], *, most: int = MAX_WAITING, keep_s: float = KEEP_S) -> None:
        self._lost, self._most, self._keep_s = lost, most, keep_s
        self._tasks: set[asyncio.Task[None]] = set()
        self._rng = random.Random()  # noqa: S311 - jitter, not a secret

    @property
    def waiting(self) -> int:
        """How many events are on their way."""
        return len(self._tasks)

    async def give(self, send: Send, within_s: float) -> None:
        """Send now, waiting at most `within_s`; what is not sent by then is sent, and tried again, behind the answer's back.

        `send` raises Refusal when it may be tried again.
        """
        if len(self._tasks) >= self._most:
            self._lost()
            return
        task = asyncio.create_task(self._deliver(send), name="spool")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.wait({task}, timeout=within_s)

    async def _deliver(self, send: Send) -> None:
        try:
            async with asyncio.timeout(self._keep_s):
                attempt = 0
                while not await _sent(send):
                    await asyncio.sleep(backoff_ms(attempt, BASE_MS, MAX_MS, self._rng) / 1000)
                    attempt += 1
        except asyncio.CancelledError:
            self._lost()
            raise
        except Exception as error:  # noqa: BLE001 - nobody waits for this task: it must say by itself what became of the event
            if not isinstance(error, TimeoutError):
                log.error("spool_failed", kind=type(error).__name__)  # noqa: TRY400 - a traceback's text may quote what was sent
            self._lost()

    async def aclose(self, within_s: float) -> None:
        """Wait for what is on its way, at most `within_s`; the rest is lost."""
        if not self._tasks:
            return
        _, left = await asyncio.wait(self._tasks, timeout=within_s)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


async def _sent(send: Send) -> bool:
    try:
        await send()
    except Refusal:
        return False
    return True
