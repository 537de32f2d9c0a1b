"""A consumer on Kafka, in a group or reading everything."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from runtime.bus.kafka_errors import told
from runtime.bus.port import Partition, Record

_CLOSE_WITHIN_S: Final = 10.0


class KafkaConsumer:
    """Wraps one aiokafka consumer. Not for more than one task at a time."""

    def __init__(self, inner: AIOKafkaConsumer, *, grouped: bool, timeout_s: float) -> None:
        self._inner, self._grouped, self._timeout_s = inner, grouped, timeout_s

    async def connect(self) -> None:
        """Join, and wait for the first assignment."""
        try:
            async with told("a new consumer"), asyncio.timeout(self._timeout_s):
                await self._inner.start()
        except BaseException:
            await self.aclose()
            raise

    async def poll(self, timeout_ms: int, max_records: int) -> dict[Partition, list[Record]]:
        async with told("a poll"):
            found = await self._inner.getmany(timeout_ms=timeout_ms, max_records=max_records)
        return {
            Partition(place.topic, place.partition): [
                Record(r.topic, r.partition, r.offset, r.timestamp, r.key, r.value, tuple(r.headers)) for r in records
            ]
            for place, records in found.items()
            if records
        }

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        if not self._grouped:
            return
        held = self._inner.assignment()
        mine = {place: offset for p, offset in offsets.items() if (place := TopicPartition(p.topic, p.number)) in held}
        if not mine:
            return
        async with told("a commit"), asyncio.timeout(self._timeout_s):
            # Lost to a rebalance: whoever has them now starts from the commit before.
            with suppress(CommitFailedError, IllegalStateError):
                await self._inner.commit(mine)

    async def seek(self, partition: Partition, offset: int) -> None:
        place = TopicPartition(partition.topic, partition.number)
        if place in self._inner.assignment():
            self._inner.seek(place, offset)

    async def aclose(self) -> None:
        # Leaving is a courtesy: without it the broker takes the partitions back after the session timeout.
        stopping = asyncio.ensure_future(self._inner.stop())
        await asyncio.wait([stopping], timeout=_CLOSE_WITHIN_S)
        stopping.cancel()
        await asyncio.wait([stopping])
        if stopping.cancelled() or stopping.exception() is not None:
            # aiokafka stops half way when a fetch of its own was cancelled or the broker is away; its sockets are left open.
            with suppress(KafkaError, OSError, TimeoutError):
                await self._inner._client.close()
