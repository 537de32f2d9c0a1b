"""A producer on Kafka that gets well by itself."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, ProducerClosed

from runtime.bus.kafka_errors import told, translated
from runtime.bus.record_limits import check
from runtime.bus.port import Outgoing
from runtime.errors import OnefoldError, Permanent, Transient

_KNOWN_WITHIN_S: Final = 3.0
_CLOSE_WITHIN_S: Final = 5.0


class KafkaProducer:
    """Any number of tasks may send at once.

    After a failed batch the broker refuses the sequence numbers that follow it, and after a timeout batches may still lie in
    the buffer; so the inner producer is then replaced by a new one.
    """

    def __init__(self, new: Callable[[], AIOKafkaProducer], timeout_s: float) -> None:
        self._new, self._timeout_s = new, timeout_s
        self._connecting = asyncio.Lock()
        self._inner: AIOKafkaProducer | None = None
        self._closed = False
        self._leaving: set[asyncio.Task[None]] = set()

    async def connect(self) -> None:
        """Raises Transient when no broker answers."""
        async with told("a new producer"), asyncio.timeout(self._timeout_s):
            await self._connected()

    async def _connected(self) -> AIOKafkaProducer:
        async with self._connecting:
            if self._closed:
                raise Permanent("the producer is closed")
            if self._inner is None:
                inner = self._new()
                try:
                    await inner.start()
                except BaseException:
                    await _close(inner)
                    raise
                self._inner = inner
            return self._inner

    async def send(self, records: Sequence[Outgoing]) -> list[tuple[int, int]]:
        inner: AIOKafkaProducer | None = None
        try:
            async with told("records"), asyncio.timeout(self._timeout_s):
                inner = await self._connected()
                counts = {topic: await _partition_count(inner, topic) for topic in {record.topic for record in records}}
                for record in records:
                    check(record, counts[record.topic])
                return await self._write(inner, records)
        except Transient:
            if inner is not None:
                self._replace(inner)
            raise

    async def _write(self, inner: AIOKafkaProducer, records: Sequence[Outgoing]) -> list[tuple[int, int]]:
        futures: list[asyncio.Future[Any]] = []
        try:
            for r in records:
                future = await inner.send(r.topic, r.value, r.key, r.partition, headers=list(r.headers))
                futures.append(future)
        except BaseException:
            for future in futures:
                future.add_done_callback(_seen)
            raise
        answers = await asyncio.gather(*futures, return_exceptions=True)
        failures = [answer for answer in answers if isinstance(answer, BaseException)]
        if not failures:
            return [(answer.partition, answer.offset) for answer in answers]  # type: ignore[union-attr]
        self._replace(inner)
        errors: list[OnefoldError] = [translated("records", failure) for failure in failures]
        raise next((error for error in errors if not isinstance(error, Transient)), errors[0]) from failures[0]

    def _replace(self, inner: AIOKafkaProducer) -> None:
        if self._inner is inner:
            self._inner = None
            task = asyncio.get_running_loop().create_task(_close(inner))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    async def aclose(self) -> None:
        async with self._connecting:
            self._closed = True
            inner, self._inner = self._inner, None
        if inner is not None:
            await _close(inner)
        await asyncio.gather(*self._leaving)


def _seen(future: asyncio.Future[Any]) -> None:
    """Look at the error, so that asyncio does not report it as unseen."""
    if not future.cancelled():
        future.exception()


async def _partition_count(inner: AIOKafkaProducer, topic: str) -> int:
    """Waits a moment, as news of a topic takes time to get round."""
    try:
        async with asyncio.timeout(_KNOWN_WITHIN_S):
            return len(await inner.partitions_for(topic))
    except (TimeoutError, KafkaError) as error:
        if await inner.client.force_metadata_update():
            raise Permanent(f"topic {topic} does not exist: create it first") from error
        raise


async def _close(inner: AIOKafkaProducer) -> None:
    """Flush for a moment; what the broker has not taken by then fails at its sender."""
    stopping = asyncio.ensure_future(inner.stop())
    done, _ = await asyncio.wait([stopping], timeout=_CLOSE_WITHIN_S)
    with suppress(KafkaError, OSError, TimeoutError):
        if not done:
            # aiokafka would wait for its buffer without end while the broker is away. Its sender goes first: one that still
            # tries again would put a failed batch back.
            await inner._sender.close()
            inner._message_accumulator.fail_all(ProducerClosed())
        await stopping
