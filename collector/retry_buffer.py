"""Keeps events whose sender cannot send again, and tries to publish them for a while, within bounds of memory and time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from collector.problems import RequestRefused
from runtime.errors import Transient
from runtime.logs import get_logger
from runtime.retry import retry

MAX_WAITING: Final = 10_000
RETRY_FOR_S: Final = 600.0
BASE_MS: Final = 200
MAX_MS: Final = 10_000

log: Final = get_logger(__name__)

Send = Callable[[], Awaitable[None]]


class RetryBuffer:
    """Publishes events in the background until the broker has them.

    `on_lost` is called once for every event that is given up: because `max_waiting` events wait already, because `retry_for_s` is
    over, or because the process ends.
    """

    def __init__(self, on_lost: Callable[[], None], *, max_waiting: int = MAX_WAITING, retry_for_s: float = RETRY_FOR_S) -> None:
        self._on_lost = on_lost
        self._max_waiting = max_waiting
        self._retry_for_s = retry_for_s
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def waiting(self) -> int:
        """How many events are not published yet."""
        return len(self._tasks)

    async def submit(self, send: Send, timeout_s: float) -> None:
        """Send now and wait at most `timeout_s`. An event that is not sent by then is sent in the background.

        `send` raises RequestRefused when it may be tried again; any other error gives the event up.
        """
        if len(self._tasks) >= self._max_waiting:
            self._on_lost()
            return
        task = asyncio.create_task(self._send_with_retries(send), name="retry_buffer")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.wait({task}, timeout=timeout_s)

    async def _send_with_retries(self, send: Send) -> None:
        try:
            async with asyncio.timeout(self._retry_for_s):
                await retry(lambda: _send_or_raise_transient(send), attempts=None, base_ms=BASE_MS, max_ms=MAX_MS)
        except asyncio.CancelledError:
            self._on_lost()
            raise
        except Exception as error:  # noqa: BLE001 - nobody awaits this task, so it must report itself what became of the event
            if not isinstance(error, TimeoutError):
                log.error("retry_buffer_failed", kind=type(error).__name__)  # noqa: TRY400 - a traceback's text may quote what was sent
            self._on_lost()

    async def aclose(self, timeout_s: float) -> None:
        """Wait for the events that are not published yet, at most `timeout_s`; the others are lost and counted as lost."""
        if not self._tasks:
            return
        _, unfinished = await asyncio.wait(self._tasks, timeout=timeout_s)
        for task in unfinished:
            task.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)


async def _send_or_raise_transient(send: Send) -> None:
    """Send once. A refused request is a fault that may pass, as the client that would send it again is this buffer."""
    try:
        await send()
    except RequestRefused as error:
        raise Transient("the event could not be sent") from error
