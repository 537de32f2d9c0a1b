"""Consumers on Kafka: a member of a group, and a reader of whole topics."""

import asyncio
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError

from runtime.bus.empty_offsets import EmptyOffsets
from runtime.bus.kafka_errors import translate_errors
from runtime.bus.kafka_positions import read_positions
from runtime.bus.port import Partition, Record

_CLOSE_TIMEOUT_S: Final = 10.0


class KafkaConsumer:
    """Wraps one aiokafka consumer that is a member of a group. Only one task at a time may use it.

    `first_offset` is what the offsets of Onefold have beyond those of Kafka: see `epochs`.
    """

    def __init__(self, inner: AIOKafkaConsumer, timeout_s: float, first_offset: int = 0) -> None:
        self._inner = inner
        self._timeout_s = timeout_s
        self._first_offset = first_offset
        self._empty_offsets = EmptyOffsets[TopicPartition]()
        self._assignment: object = None
        self._generation = 0

    @property
    def generation(self) -> int:
        subscription = self._inner._subscription.subscription
        # aiokafka makes a new object for every assignment, also when the partitions are the same; its listeners are told later.
        assignment = None if subscription is None else subscription.assignment
        if assignment is not self._assignment:
            self._assignment = assignment
            self._generation += 1
        return self._generation

    async def connect(self) -> None:
        """Join, and wait for the first assignment."""
        try:
            async with translate_errors("a new consumer"), asyncio.timeout(self._timeout_s):
                await self._inner.start()
        except BaseException:
            await self.aclose()
            raise

    async def poll(self, timeout_ms: int, max_records: int) -> dict[Partition, list[Record]]:
        positions = read_positions(self._inner)
        async with translate_errors("a poll"):
            polled = await self._inner.getmany(timeout_ms=timeout_ms, max_records=max_records)
        last_offsets = {topic_partition: records[-1].offset for topic_partition, records in polled.items() if records}
        for empty_range in positions.passed_until(read_positions(self._inner), last_offsets):
            self._empty_offsets.note(*empty_range)
        return {
            Partition(topic_partition.topic, topic_partition.partition): [
                Record(r.topic, r.partition, r.offset + self._first_offset, r.timestamp, r.key, r.value, tuple(r.headers))
                for r in records
            ]
            for topic_partition, records in polled.items()
            if records
        }

    def assigned(self) -> frozenset[Partition]:
        return frozenset(Partition(p.topic, p.partition) for p in self._inner.assignment())

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        assignment = self._inner.assignment()
        owned_offsets = {
            topic_partition: self._empty_offsets.skip(topic_partition, self._to_kafka(offset))
            for p, offset in offsets.items()
            if (topic_partition := TopicPartition(p.topic, p.number)) in assignment
        }
        if not owned_offsets:
            return
        async with translate_errors("a commit"), asyncio.timeout(self._timeout_s):
            # Lost to a rebalance: the member that has the partitions now starts from the commit before.
            with suppress(CommitFailedError, IllegalStateError):
                await self._inner.commit(owned_offsets)

    async def seek(self, partition: Partition, offset: int) -> None:
        topic_partition = TopicPartition(partition.topic, partition.number)
        if topic_partition in self._inner.assignment():
            self._inner.seek(topic_partition, self._to_kafka(offset))

    def _to_kafka(self, offset: int) -> int:
        """Return an offset as Kafka has it. One of an earlier log is before everything that this log has."""
        return max(0, offset - self._first_offset)

    async def aclose(self) -> None:
        # Leaving only saves time: without it the broker takes the partitions back after the session timeout.
        if not await _ends_well(self._inner.stop(), _CLOSE_TIMEOUT_S):
            # aiokafka stops half way when a fetch of its own was cancelled or the broker is away; its sockets are left open.
            await _ends_well(self._inner._client.close(), _CLOSE_TIMEOUT_S)


async def _ends_well(work: Coroutine[Any, Any, None], timeout_s: float) -> bool:
    """Wait for some work, at most so long; return whether it ended in time and without an error.

    A cancellation inside the work does not reach the caller: aiokafka waits for futures of its connections, which the end of an
    earlier wait for them has cancelled.
    """
    task = asyncio.ensure_future(work)
    await asyncio.wait([task], timeout=timeout_s)
    task.cancel()
    await asyncio.wait([task])
    return not task.cancelled() and task.exception() is None


@dataclass(frozen=True, slots=True)
class _Answer:
    """What was known of a partition at the end of a poll: the offset to fetch, and when the broker last answered a fetch of it."""

    position: int
    answered_ms: int | None


class KafkaReader(KafkaConsumer):
    """Reads whole topics outside of any group.

    aiokafka moves the position of a partition over compacted offsets only when records or an empty batch follow them. At the end of
    a partition nothing follows, so its position would stay there for ever. Therefore each poll notes when the broker last answered:
    an answer to a fetch at the present position that brought no record says that there is nothing up to the last stable offset, the
    end of what is committed.
    aiokafka drops answers to other positions, so an answer that came in while the position stayed is one to this position.
    """

    def __init__(self, inner: AIOKafkaConsumer, timeout_s: float, first_offset: int = 0) -> None:
        super().__init__(inner, timeout_s, first_offset)
        self._answers: dict[TopicPartition, _Answer] = {}
        self._empty_until: dict[TopicPartition, tuple[int, int]] = {}
        """(position, last stable offset): no record lies between the two."""

    async def poll(self, timeout_ms: int, max_records: int) -> dict[Partition, list[Record]]:
        polled = await super().poll(timeout_ms, max_records)
        for topic_partition in self._inner.assignment():
            stable_end = self._inner.last_stable_offset(topic_partition)
            if stable_end is not None:
                await self._note_answer(topic_partition, stable_end, is_drained=not polled)
        return polled

    async def _note_answer(self, topic_partition: TopicPartition, stable_end: int, *, is_drained: bool) -> None:
        """Note an answer. A poll without records has drained the buffer, so no answer with records waits behind it."""
        answered_ms = self._inner.last_poll_timestamp(topic_partition)
        answer = _Answer(await self._read_position(topic_partition), answered_ms)
        previous = self._answers.get(topic_partition)
        is_new = previous is None or (previous.position == answer.position and previous.answered_ms != answered_ms)
        if is_drained and is_new:
            self._empty_until[topic_partition] = (answer.position, stable_end)
        self._answers[topic_partition] = answer

    async def position(self, partition: Partition) -> int:
        topic_partition = TopicPartition(partition.topic, partition.number)
        position = await self._read_position(topic_partition)
        empty_from, empty_until = self._empty_until.get(topic_partition, (-1, -1))
        return self._first_offset + (max(position, empty_until) if position == empty_from else position)

    async def _read_position(self, topic_partition: TopicPartition) -> int:
        # aiokafka waits for a broker that is away for as long as it takes, when it has no position yet.
        async with translate_errors("a position"), asyncio.timeout(self._timeout_s):
            position: int = await self._inner.position(topic_partition)
            return position

    async def seek(self, partition: Partition, offset: int) -> None:
        await super().seek(partition, offset)
        topic_partition = TopicPartition(partition.topic, partition.number)
        if topic_partition in self._inner.assignment():
            # Answers that came before the seek say nothing about the new position.
            self._answers[topic_partition] = _Answer(self._to_kafka(offset), self._inner.last_poll_timestamp(topic_partition))

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        """Do nothing: a reader has no group."""
