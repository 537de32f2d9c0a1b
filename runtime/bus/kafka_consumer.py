"""A consumer on Kafka, in a group or reading everything."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from runtime.bus.kafka_errors import translate_errors
from runtime.bus.port import Partition, Record

_CLOSE_TIMEOUT_S: Final = 10.0


class KafkaConsumer:
    """Wraps one aiokafka consumer. Not for more than one task at a time."""

    def __init__(self, inner: AIOKafkaConsumer, *, grouped: bool, timeout_s: float) -> None:
        self._inner, self._grouped, self._timeout_s = inner, grouped, timeout_s

    async def connect(self) -> None:
        """Join, and wait for the first assignment."""
        try:
            async with translate_errors("a new consumer"), asyncio.timeout(self._timeout_s):
                await self._inner.start()
        except BaseException:
            await self.aclose()
            raise

    async def poll(self, timeout_ms: int, max_records: int) -> dict[Partition, list[Record]]:
        async with translate_errors("a poll"):
            polled = await self._inner.getmany(timeout_ms=timeout_ms, max_records=max_records)
        return {
            Partition(topic_partition.topic, topic_partition.partition): [
                Record(r.topic, r.partition, r.offset, r.timestamp, r.key, r.value, tuple(r.headers)) for r in records
            ]
            for topic_partition, records in polled.items()
            if records
        }

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        if not self._grouped:
            return
        assignment = self._inner.assignment()
        owned_offsets = {
            topic_partition: offset
            for p, offset in offsets.items()
            if (topic_partition := TopicPartition(p.topic, p.number)) in assignment
        }
        if not owned_offsets:
            return
        async with translate_errors("a commit"), asyncio.timeout(self._timeout_s):
            # Lost to a rebalance: whoever has them now starts from the commit before.
            with suppress(CommitFailedError, IllegalStateError):
                await self._inner.commit(owned_offsets)

    async def seek(self, partition: Partition, offset: int) -> None:
        topic_partition = TopicPartition(partition.topic, partition.number)
        if topic_partition in self._inner.assignment():
            self._inner.seek(topic_partition, offset)

    async def aclose(self) -> None:
        # Leaving is a courtesy: without it the broker takes the partitions back after the session timeout.
        stopping = asyncio.ensure_future(self._inner.stop())
        await asyncio.wait([stopping], timeout=_CLOSE_TIMEOUT_S)
        stopping.cancel()
        await asyncio.wait([stopping])
        if stopping.cancelled() or stopping.exception() is not None:
            # aiokafka stops half way when a fetch of its own was cancelled or the broker is away; its sockets are left open.
            with suppress(KafkaError, OSError, TimeoutError):
                await self._inner._client.close()
