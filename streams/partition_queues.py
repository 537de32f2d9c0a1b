"""Partition queues: slices of one partition are handled one after the other, slices of different partitions side by side.

**Why.** Order matters within a partition only. Each slice waits for the store and for the broker, so a worker with many partitions
would be idle most of the time if it handled one slice after the other; and a slice that has to wait for long would delay all.

**Invariant.** At most one slice of a partition is being handled, and slices begin in the order in which they were put. After a
slice that was *not done* no further slice of that partition and generation begins. Otherwise a later slice would move the stored
position, and the guards of the documents that it changes, past records that were never applied. These records would then count as
applied, and be lost.

**Example.** Partition 0 brings the slices 0-9, 10-19 and 20-29 in generation 4. The first is done. The second is not: the store
does not answer and the process begins to stop. The slice 20-29 is taken from the queue and dropped. After the rebalance the
records 10-29 come again in generation 5, in other slices, and the queue handles them. Partition 1 went on all the time.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from runtime.bus.port import Partition
from streams.slice_source import DeliveredSlice

QUEUE_CAPACITY_SLICES: Final = 2
"""How many slices of a partition wait beside the one that is being handled. More would only be read again after a rebalance."""


class PartitionQueues:
    """Calls `handle` with every slice, in the order of its partition. `handle` returns whether the slice is done.

    If `handle` raises, the queue of that partition ends for good and `on_failure` gets the error. While the queues are paused no
    slice begins. Waiting slices are not dropped: `handle` checks itself whether a slice still belongs to the assignment.
    """

    def __init__(self, handle: Callable[[DeliveredSlice], Awaitable[bool]], on_failure: Callable[[BaseException], None]) -> None:
        self._handle = handle
        self._on_failure = on_failure
        self._queues: dict[Partition, asyncio.Queue[DeliveredSlice]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._open = asyncio.Event()
        self._open.set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._in_hand = 0

    async def put(self, delivered: DeliveredSlice) -> None:
        """Append a slice to the queue of its partition. Waits while that queue is full."""
        queue = self._queues.get(delivered.partition)
        if queue is None:
            queue = self._queues[delivered.partition] = asyncio.Queue(QUEUE_CAPACITY_SLICES)
            name = f"queue {delivered.partition.topic}:{delivered.partition.number}"
            task = asyncio.create_task(self._run(queue), name=name)
            task.add_done_callback(self._on_task_done)
            self._tasks.append(task)
        await queue.put(delivered)

    async def pause(self, timeout_s: float) -> bool:
        """Begin no more slices and wait for the running ones. Return whether all of them ended within `timeout_s`."""
        self._open.clear()
        try:
            await asyncio.wait_for(self._idle.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    def resume(self) -> None:
        """Begin slices again."""
        self._open.set()

    async def aclose(self) -> None:
        """Cancel the queues, in the middle of a slice if need be."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, queue: asyncio.Queue[DeliveredSlice]) -> None:
        halted_generation: int | None = None
        while True:
            delivered = await queue.get()
            while not self._open.is_set():  # a loop, because the queues may be paused again before this task gets to run
                await self._open.wait()
            # A new generation means that the partition was assigned anew, and starts from its stored position: it is safe again.
            if halted_generation is not None and delivered.generation == halted_generation:
                continue
            self._in_hand += 1
            self._idle.clear()
            try:
                # The slice stays unacknowledged, so Kafka delivers it again after the next assignment.
                if not await self._handle(delivered):
                    halted_generation = delivered.generation
            finally:
                self._in_hand -= 1
                if not self._in_hand:
                    self._idle.set()

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_failure(error)
