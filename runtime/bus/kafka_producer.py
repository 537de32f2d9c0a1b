"""A producer on Kafka that recovers by itself."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, ProducerClosed

from runtime.bus.kafka_errors import translate_error, translate_errors
from runtime.bus.port import Outgoing
from runtime.bus.record_limits import check_record
from runtime.errors import OnefoldError, Permanent, Transient

METADATA_TIMEOUT_S: Final = 3.0
_CLOSE_TIMEOUT_S: Final = 5.0


class KafkaProducer:
    """Any number of tasks may send at the same time.

    After a failed batch the broker refuses the sequence numbers that follow it, and after a time-out batches may still be in the
    buffer. So after either the inner producer is replaced by a new one.
    """

    def __init__(
        self,
        create_producer: Callable[[], AIOKafkaProducer],
        start_producer: Callable[[AIOKafkaProducer], Awaitable[None]],
        require_topic: Callable[[str], Awaitable[object]],
        timeout_s: float,
        first_offset: int = 0,
    ) -> None:
        """Make a producer. `require_topic` raises Permanent when the broker says that it has no such topic.

        `first_offset` is what the offsets of Onefold have beyond those of Kafka: see `epochs`.
        """
        self._create_producer, self._start_producer = create_producer, start_producer
        self._require_topic, self._timeout_s = require_topic, timeout_s
        self._first_offset = first_offset
        self._connecting = asyncio.Lock()
        self._inner: AIOKafkaProducer | None = None
        self._closed = False
        self._closing: set[asyncio.Task[None]] = set()

    async def connect(self) -> None:
        """Connect. Raises Transient when no broker answers."""
        async with translate_errors("a new producer"), asyncio.timeout(self._timeout_s):
            await self._ensure_connected()

    async def _ensure_connected(self) -> AIOKafkaProducer:
        async with self._connecting:
            if self._closed:
                raise Permanent("the producer is closed")
            if self._inner is None:
                inner = self._create_producer()
                try:
                    await self._start_producer(inner)
                except BaseException:
                    await _close(inner)
                    raise
                self._inner = inner
            return self._inner

    async def send(self, records: Sequence[Outgoing]) -> list[tuple[int, int]]:
        inner: AIOKafkaProducer | None = None
        try:
            async with translate_errors("records"), asyncio.timeout(self._timeout_s):
                inner = await self._ensure_connected()
                counts = {topic: await self._partition_count(inner, topic) for topic in {record.topic for record in records}}
                for record in records:
                    check_record(record, counts[record.topic])
                return await self._write(inner, records)
        except Transient:
            if inner is not None:
                self._replace(inner)
            raise

    async def _partition_count(self, inner: AIOKafkaProducer, topic: str) -> int:
        """Return a topic's number of partitions. Waits a moment: a new topic reaches the brokers' metadata late."""
        try:
            async with asyncio.timeout(METADATA_TIMEOUT_S):
                return len(await inner.partitions_for(topic))
        except (TimeoutError, KafkaError):
            # A broker that is slow to answer has said nothing about the topic, so it is asked before the topic is given up.
            await self._require_topic(topic)
            raise

    async def _write(self, inner: AIOKafkaProducer, records: Sequence[Outgoing]) -> list[tuple[int, int]]:
        futures: list[asyncio.Future[Any]] = []
        try:
            for r in records:
                future = await inner.send(r.topic, r.value, r.key, r.partition, headers=list(r.headers))
                futures.append(future)
        except BaseException:
            for future in futures:
                future.add_done_callback(_retrieve_exception)
            raise
        results = await asyncio.gather(*futures, return_exceptions=True)
        failures = [result for result in results if isinstance(result, BaseException)]
        if not failures:
            return [(answer.partition, answer.offset + self._first_offset) for answer in results]  # type: ignore[union-attr]
        self._replace(inner)
        errors: list[OnefoldError] = [translate_error("records", failure) for failure in failures]
        raise next((error for error in errors if not isinstance(error, Transient)), errors[0]) from failures[0]

    def _replace(self, inner: AIOKafkaProducer) -> None:
        if self._inner is inner:
            self._inner = None
            task = asyncio.get_running_loop().create_task(_close(inner))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def aclose(self) -> None:
        async with self._connecting:
            self._closed = True
            inner, self._inner = self._inner, None
        if inner is not None:
            await _close(inner)
        await asyncio.gather(*self._closing)


def _retrieve_exception(future: asyncio.Future[Any]) -> None:
    """Retrieve the error, so that asyncio does not report it as never retrieved."""
    if not future.cancelled():
        future.exception()


async def _close(inner: AIOKafkaProducer) -> None:
    """Flush for at most _CLOSE_TIMEOUT_S; records that the broker has not taken by then fail at their sender."""
    stopping = asyncio.ensure_future(inner.stop())
    finished, _ = await asyncio.wait([stopping], timeout=_CLOSE_TIMEOUT_S)
    with suppress(KafkaError, OSError, TimeoutError):
        if not finished:
            # aiokafka would wait for its buffer without end while the broker is away. Its sender is closed first: one that still
            # retries would put a failed batch back into the buffer.
            await inner._sender.close()
            inner._message_accumulator.fail_all(ProducerClosed())
        await stopping
