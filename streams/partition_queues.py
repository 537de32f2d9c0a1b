"""Lanes: slices of one partition one after the other, of different partitions beside each other."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from faust.types import TP, EventT

QUEUE_CAPACITY_SLICES: Final = 2


class PartitionQueues:
    """`handle` gets every slice, in its partition's order, and says whether it is done. If it raises, `on_failure` is told.

    After a slice that is not done, nothing more of that partition is handled before the next rebalance: a later slice would move
    the stored position, and the documents it touches, past records that were never applied.
    While the lanes are paused nothing new is begun. What waits in them is not dropped: `handle` knows what is out of date.
    """

    def __init__(self, handle: Callable[[EventT[object]], Awaitable[bool]], on_failure: Callable[[BaseException], None]) -> None:
        self._handle, self._on_failure = handle, on_failure
        self._queues: dict[TP, asyncio.Queue[EventT[object]]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._open = asyncio.Event()
        self._open.set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._busy = 0

    async def put(self, event: EventT[object]) -> None:
        """Give a slice to its partition's lane; waits while that lane is full."""
        tp = TP(event.message.topic, event.message.partition)
        queue = self._queues.get(tp)
        if queue is None:
            queue = self._queues[tp] = asyncio.Queue(QUEUE_CAPACITY_SLICES)
            task = asyncio.create_task(self._run(queue), name=f"lane {tp.topic}:{tp.partition}")
            task.add_done_callback(self._on_task_done)
            self._tasks.append(task)
        await queue.put(event)

    async def pause(self, timeout_s: float) -> bool:
        """Begin nothing new and wait for what is in hand; whether all was done within the bound."""
        self._open.clear()
        try:
            await asyncio.wait_for(self._idle.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    def resume(self) -> None:
        """Begin again."""
        self._open.set()

    async def aclose(self) -> None:
        """End the lanes, in the middle of a slice if need be."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, queue: asyncio.Queue[EventT[object]]) -> None:
        halted_generation: int | None = None
        while True:
            event = await queue.get()
            generation = event.message.generation_id
            while not self._open.is_set():  # it may have closed again before this task ran
                await self._open.wait()
            if halted_generation is not None and generation == halted_generation:
                continue
            self._busy += 1
            self._idle.clear()
            try:
                if not await self._handle(event):
                    halted_generation = generation
            finally:
                self._busy -= 1
                if not self._busy:
                    self._idle.set()

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_failure(error)
