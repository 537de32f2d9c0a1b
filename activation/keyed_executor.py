"""Handles records at the same time, but those of one key one after the other."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from runtime.bus.port import Partition, Record

Handle = Callable[[Partition, Record], Awaitable[bool]]
"""Takes a record to its end. Returns false when the process is to stop first: then no later record of its key may be handled."""


class KeyedExecutor:
    """Runs one task for each key that has records waiting. An error of a record is kept for `raise_failure`."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self._queues: dict[bytes, deque[tuple[Partition, Record]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self._progressed = asyncio.Event()

    def submit(self, partition: Partition, record: Record) -> None:
        """Queue a record behind the others of its key."""
        key = record.key or b""
        if key in self._queues:
            self._queues[key].append((partition, record))
            return
        self._queues[key] = deque([(partition, record)])
        task = asyncio.create_task(self._drain(key), name="keyed queue")
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done)

    async def _drain(self, key: bytes) -> None:
        queue = self._queues[key]
        while queue:
            if not await self._handle(*queue[0]):
                return  # the queue stays in the table, so that no new task starts with a later record of this key
            queue.popleft()
            self._progressed.set()
        del self._queues[key]

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._progressed.set()
        if not task.cancelled() and task.exception() is not None:
            self._failure = self._failure or task.exception()

    def raise_failure(self) -> None:
        """Raise the first error of a record, if there was one."""
        if self._failure is not None:
            raise self._failure

    async def wait_for_progress(self, timeout_s: float) -> None:
        """Wait until a record ends, at most `timeout_s`."""
        self._progressed.clear()
        waiting = asyncio.ensure_future(self._progressed.wait())
        await asyncio.wait([waiting], timeout=timeout_s)
        waiting.cancel()

    async def finish(self, timeout_s: float) -> None:
        """Wait for the records under way, at most `timeout_s`."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)

    async def cancel(self) -> None:
        """Cancel the records under way. They are not committed, so they will be read again."""
        remaining = list(self._tasks)
        for task in remaining:
            task.cancel()
        await asyncio.gather(*remaining, return_exceptions=True)
