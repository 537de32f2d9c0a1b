"""Lanes: order within a partition, none between partitions, and nothing past a slice that was not done."""

import asyncio
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import pytest

from streams.partition_queues import PartitionQueues


def slice_of(partition: int, number: int, generation: int = 1) -> Any:
    return SimpleNamespace(
        message=SimpleNamespace(topic="onefold.events", partition=partition, generation_id=generation), number=number
    )


class RecordingHandler:
    """Notes what it handles; `refuse` are not done, `gates` hold a partition back."""

    def __init__(self) -> None:
        self.handled: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
        self.refuse: set[int] = set()
        self.gates: dict[int, asyncio.Event] = {}
        self.errors: list[BaseException] = []
        self.begun = asyncio.Event()
        self.news = asyncio.Condition()

    async def handle(self, event: Any) -> bool:
        message = event.message
        self.begun.set()
        if gate := self.gates.get(message.partition):
            await gate.wait()
        async with self.news:
            self.handled[message.partition].append((message.generation_id, event.number))
            self.news.notify_all()
        return event.number not in self.refuse

    async def until(self, partition: int, count: int) -> None:
        async with self.news, asyncio.timeout(5):
            await self.news.wait_for(lambda: len(self.handled[partition]) >= count)


@pytest.fixture
def handler() -> RecordingHandler:
    return RecordingHandler()


async def test_partitions_do_not_wait_for_each_other(handler: RecordingHandler) -> None:
    lanes = PartitionQueues(handler.handle, handler.errors.append)
    handler.gates[0] = asyncio.Event()
    await lanes.put(slice_of(0, 1))
    for number in (1, 2, 3):
        await lanes.put(slice_of(1, number))
    await handler.until(1, 3)
    assert not handler.handled[0]
    handler.gates[0].set()
    await handler.until(0, 1)
    await lanes.aclose()
    assert handler.handled[1] == [(1, 1), (1, 2), (1, 3)]


async def test_unfinished_slice_blocks_its_partition_until_a_rebalance(handler: RecordingHandler) -> None:
    lanes = PartitionQueues(handler.handle, handler.errors.append)
    handler.refuse = {2}
    for number in (1, 2, 3, 4):
        await lanes.put(slice_of(0, number))
    await lanes.put(slice_of(0, 5, generation=2))
    await handler.until(0, 3)
    await lanes.aclose()
    assert handler.handled[0] == [(1, 1), (1, 2), (2, 5)]


async def test_pause_finishes_the_current_slice_and_starts_no_other(handler: RecordingHandler) -> None:
    lanes = PartitionQueues(handler.handle, handler.errors.append)
    gate = handler.gates[0] = asyncio.Event()
    await lanes.put(slice_of(0, 1))
    await lanes.put(slice_of(0, 2))
    await handler.begun.wait()
    assert await lanes.pause(0) is False
    pausing = asyncio.create_task(lanes.pause(5))
    gate.set()
    assert await pausing is True
    assert handler.handled[0] == [(1, 1)]
    lanes.resume()
    await handler.until(0, 2)
    await lanes.aclose()


async def test_handler_error_is_reported() -> None:
    async def handle(_: object) -> bool:
        raise ValueError("a bug")

    told: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
    lanes = PartitionQueues(handle, told.set_result)
    await lanes.put(slice_of(0, 1))
    assert str(await asyncio.wait_for(told, 5)) == "a bug"
    await lanes.aclose()
