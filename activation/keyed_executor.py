"""Records side by side, those of one key one after the other."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from runtime.bus.port import Partition, Record

Handle = Callable[[Partition, Record], Awaitable[bool]]
"""Takes a record to its end; False when the process is to stop first: then nothing of its key may follow."""


class Lanes:
    """One task for each key that has records."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self._queues: dict[bytes, deque[tuple[Partition, Record]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._failed: BaseException | None = None
        self._moved = asyncio.Event()

    def put(self, place: Partition, record: Record) -> None:
        """Let a record follow the others of its key."""
        key = record.key or b""
        if key in self._queues:
            self._queues[key].append((place, record))
            return
        self._queues[key] = deque([(place, record)])
        task = asyncio.create_task(self._drive(key), name="lane")
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    async def _drive(self, key: bytes) -> None:
        queue = self._queues[key]
        while queue:
            if not await self._handle(*queue[0]):
                return  # the queue stays, so that no other task takes up what is behind
            queue.popleft()
            self._moved.set()
        del self._queues[key]

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._moved.set()
        if not task.cancelled() and task.exception() is not None:
            self._failed = self._failed or task.exception()

    def check(self) -> None:
        """Raise what a lane could not heal."""
        if self._failed is not None:
            raise self._failed

    async def moved(self, within_s: float) -> None:
        """Wait until a record ends, or for that long."""
        self._moved.clear()
        waiting = asyncio.ensure_future(self._moved.wait())
        await asyncio.wait([waiting], timeout=within_s)
        waiting.cancel()

    async def finish(self, within_s: float) -> None:
        """Wait for what is under way, for so long."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=within_s)

    async def cancel(self) -> None:
        """End what is left; it will be read again."""
        left = list(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
