"""Partition queues: order within a partition, none between partitions, and nothing past a slice that was not done."""

import asyncio
from collections import defaultdict

import pytest

from runtime.bus.port import Partition, Record
from streams.partition_queues import PartitionQueues
from streams.slice_source import DeliveredSlice


def slice_of(partition: int, offset: int, generation: int = 1) -> DeliveredSlice:
    record = Record("onefold.events", partition, offset, timestamp_ms=0, key=None, value=None)
    return DeliveredSlice(Partition(record.topic, partition), generation, [record], ack=lambda: None)


class RecordingHandler:
    """A handler that records the generation and offset of each slice.

    It refuses the offsets in `refuse`; `gates` block a partition.
    """

    def __init__(self) -> None:
        self.handled: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
        self.refuse: set[int] = set()
        self.gates: dict[int, asyncio.Event] = {}
        self.errors: list[BaseException] = []
        self.begun = asyncio.Event()
        self.news = asyncio.Condition()

    async def handle(self, delivered: DeliveredSlice) -> bool:
        number, offset = delivered.partition.number, delivered.records[0].offset
        self.begun.set()
        if gate := self.gates.get(number):
            await gate.wait()
        async with self.news:
            self.handled[number].append((delivered.generation, offset))
            self.news.notify_all()
        return offset not in self.refuse

    async def until(self, partition: int, count: int) -> None:
        async with self.news, asyncio.timeout(5):
            await self.news.wait_for(lambda: len(self.handled[partition]) >= count)


@pytest.fixture
def handler() -> RecordingHandler:
    return RecordingHandler()


async def test_partitions_do_not_wait_for_each_other(handler: RecordingHandler) -> None:
    queues = PartitionQueues(handler.handle, handler.errors.append)
    handler.gates[0] = asyncio.Event()
    await queues.put(slice_of(0, 1))
    for number in (1, 2, 3):
        await queues.put(slice_of(1, number))
    await handler.until(1, 3)
    assert not handler.handled[0]
    handler.gates[0].set()
    await handler.until(0, 1)
    await queues.aclose()
    assert handler.handled[1] == [(1, 1), (1, 2), (1, 3)]


async def test_unfinished_slice_blocks_its_partition_until_a_rebalance(handler: RecordingHandler) -> None:
    queues = PartitionQueues(handler.handle, handler.errors.append)
    handler.refuse = {2}
    for number in (1, 2, 3, 4):
        await queues.put(slice_of(0, number))
    await queues.put(slice_of(0, 5, generation=2))
    await handler.until(0, 3)
    await queues.aclose()
    assert handler.handled[0] == [(1, 1), (1, 2), (2, 5)]


async def test_pause_finishes_the_current_slice_and_starts_no_other(handler: RecordingHandler) -> None:
    queues = PartitionQueues(handler.handle, handler.errors.append)
    gate = handler.gates[0] = asyncio.Event()
    await queues.put(slice_of(0, 1))
    await queues.put(slice_of(0, 2))
    await handler.begun.wait()
    assert await queues.pause(0) is False
    pausing = asyncio.create_task(queues.pause(5))
    gate.set()
    assert await pausing is True
    assert handler.handled[0] == [(1, 1)]
    queues.resume()
    await handler.until(0, 2)
    await queues.aclose()


async def test_handler_error_is_reported() -> None:
    async def handle(_: object) -> bool:
        raise ValueError("a bug")

    reported: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
    queues = PartitionQueues(handle, reported.set_result)
    await queues.put(slice_of(0, 1))
    assert str(await asyncio.wait_for(reported, 5)) == "a bug"
    await queues.aclose()
