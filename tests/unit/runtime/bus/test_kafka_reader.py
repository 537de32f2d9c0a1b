"""A reader passes offsets without a record, but never an offset of an unread record."""

import asyncio
from types import SimpleNamespace
from typing import Any

from aiokafka import TopicPartition

from runtime.bus.kafka_consumer import KafkaReader
from runtime.bus.port import Partition

TP = TopicPartition("t", 0)


class ScriptedConsumer:
    """The part of aiokafka that KafkaReader uses.

    `fetched` is the offset to fetch next, `answered_ms` is when the broker last answered.
    """

    _subscription = SimpleNamespace(subscription=None)

    def __init__(self) -> None:
        self.fetched = 0
        self.stable_end: int | None = None
        self.answered_ms: int | None = None
        self.records: list[Any] = []

    def answer(self, stable_end: int) -> None:
        self.stable_end = stable_end
        self.answered_ms = (self.answered_ms or 0) + 50

    def assignment(self) -> set[TopicPartition]:
        return {TP}

    def last_stable_offset(self, _: TopicPartition) -> int | None:
        return self.stable_end

    def last_poll_timestamp(self, _: TopicPartition) -> int | None:
        return self.answered_ms

    async def position(self, _: TopicPartition) -> int:
        return self.fetched

    def seek(self, _: TopicPartition, offset: int) -> None:
        self.fetched = offset

    async def getmany(self, **_: int) -> dict[TopicPartition, list[Any]]:
        return {}


async def position_after_poll(reader: KafkaReader) -> int:
    await reader.poll(0, 10)
    return await reader.position(Partition("t", 0))


async def test_an_answer_without_records_moves_the_position_to_the_stable_end() -> None:
    consumer = ScriptedConsumer()
    reader = KafkaReader(consumer, 1)
    consumer.answer(stable_end=7)
    assert await position_after_poll(reader) == 7


async def test_without_an_answer_the_position_stays_however_many_polls_bring_nothing() -> None:
    consumer = ScriptedConsumer()
    reader = KafkaReader(consumer, 1)
    assert [await position_after_poll(reader) for _ in range(5)] == [0] * 5


async def test_an_answer_from_before_the_position_moved_does_not_count_for_the_new_position() -> None:
    consumer = ScriptedConsumer()
    reader = KafkaReader(consumer, 1)
    consumer.answer(stable_end=7)
    await reader.poll(0, 10)
    consumer.fetched = 3  # a batch without records was passed; the fetch from 3 on is not answered yet
    consumer.stable_end = 9
    assert [await position_after_poll(reader) for _ in range(3)] == [3] * 3
    consumer.answer(stable_end=9)
    assert await position_after_poll(reader) == 9


async def test_an_answer_from_before_a_seek_does_not_count_after_it() -> None:
    consumer = ScriptedConsumer()
    reader = KafkaReader(consumer, 1)
    consumer.answer(stable_end=7)
    await reader.seek(Partition("t", 0), 2)
    assert [await position_after_poll(reader) for _ in range(3)] == [2] * 3
    consumer.answer(stable_end=7)
    assert await position_after_poll(reader) == 7


async def test_the_position_moves_back_with_a_seek_after_the_end_was_reached() -> None:
    consumer = ScriptedConsumer()
    reader = KafkaReader(consumer, 1)
    consumer.answer(stable_end=7)
    assert await position_after_poll(reader) == 7
    await reader.seek(Partition("t", 0), 2)
    assert await reader.position(Partition("t", 0)) == 2


class HalfStoppedConsumer:
    """A consumer whose stop was cut off: the futures of its connections are cancelled, and a second wait for them ends so."""

    def __init__(self) -> None:
        self._client, self.closed = self, False

    async def stop(self) -> None:
        raise asyncio.CancelledError

    async def close(self) -> None:
        self.closed = True
        await asyncio.gather(*self._cancelled_futures())

    def _cancelled_futures(self) -> list[asyncio.Future[None]]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.cancel()
        return [future]


async def test_closing_after_a_stop_that_was_cut_off_cancels_nobody() -> None:
    inner: Any = HalfStoppedConsumer()
    await KafkaReader(inner, timeout_s=1).aclose()
    assert inner.closed
