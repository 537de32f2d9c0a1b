"""The Kafka driver while its broker is away, and after it came back."""

import asyncio
import signal
import uuid
from collections.abc import Awaitable, Callable

import pytest

from runtime.bus.kafka import KafkaBus
from runtime.bus.kafka_producer import METADATA_TIMEOUT_S
from runtime.bus.port import Outgoing, Partition
from runtime.errors import Transient
from runtime.retry import retry
from runtime.settings import Settings
from tests.support.ports import free_port
from tests.support.services import ServiceProcess

WITHIN_S = 60


async def test_an_unreachable_broker_is_transient_everywhere() -> None:
    async with KafkaBus(Settings(kafka_bootstrap=f"127.0.0.1:{free_port()}"), timeout_ms=2_000) as bus:
        questions: list[Callable[[], Awaitable[object]]] = [
            bus.ping,
            bus.producer,
            lambda: bus.consumer("g", ["t"]),
            lambda: bus.reader(["t"]),
            lambda: bus.end_offsets("t"),
            lambda: bus.committed("g", "t"),
            lambda: bus.create_topics({"t": (1, {})}),
        ]
        for question in questions:
            with pytest.raises(Transient, match="ONEFOLD_KAFKA_BOOTSTRAP"):
                await question()


@pytest.mark.kafka
async def test_after_an_outage_the_same_producer_and_consumer_go_on(own_kafka: tuple[ServiceProcess, str]) -> None:
    service, bootstrap = own_kafka
    topic = f"t{uuid.uuid4().hex[:16]}"
    async with KafkaBus(Settings(kafka_bootstrap=bootstrap, session_timeout_ms=2_000), timeout_ms=2_000) as bus:
        await bus.create_topics({topic: (1, {})})
        producer, consumer = await bus.producer(), await bus.consumer(topic, [topic])
        await producer.send([Outgoing(topic, b"before")])
        seen: list[bytes | None] = []

        async def caught_up(value: bytes) -> None:
            """Read until `value` has arrived and everything is committed.

            A commit that a rebalance makes void brings its records again.
            """
            done: dict[int, int] = {}
            async with asyncio.timeout(WITHIN_S):
                while value not in seen or done != await bus.end_offsets(topic):
                    for partition, records in (await consumer.poll(200, 10)).items():
                        seen.extend(record.value for record in records)
                        await consumer.commit({partition: records[-1].offset + 1})
                    done = await bus.committed(topic, topic)

        await caught_up(b"before")
        await asyncio.to_thread(service.kill)
        with pytest.raises(Transient):
            await producer.send([Outgoing(topic, b"lost, or written when nobody waits any more")])
        with pytest.raises(Transient):
            await bus.ping()
        with pytest.raises(Transient):
            await consumer.commit({Partition(topic, 0): 1})
        await asyncio.to_thread(service.start)
        await retry(lambda: producer.send([Outgoing(topic, b"after")]), attempts=30)
        await retry(bus.ping, attempts=30)
        await retry(lambda: caught_up(b"after"), attempts=30)
        await consumer.aclose()
        await producer.aclose()


@pytest.mark.kafka
async def test_broker_that_is_slow_to_answer_has_not_lost_the_topic(own_kafka: tuple[ServiceProcess, str]) -> None:
    service, bootstrap = own_kafka
    topic = f"t{uuid.uuid4().hex[:16]}"
    async with KafkaBus(Settings(kafka_bootstrap=bootstrap)) as bus:
        producer = await bus.producer()  # before the topic is there: it has to ask the broker for it
        await bus.create_topics({topic: (1, {})})
        service.process.send_signal(signal.SIGSTOP)
        try:
            sending = asyncio.ensure_future(retry(lambda: producer.send([Outgoing(topic, b"late")]), attempts=30))
            reading = asyncio.ensure_future(retry(lambda: bus.end_offsets(topic), attempts=30))
            await asyncio.wait([sending, reading], timeout=METADATA_TIMEOUT_S + 1)
        finally:
            service.process.send_signal(signal.SIGCONT)
        assert await asyncio.wait_for(sending, WITHIN_S) == [(0, 0)]
        assert set(await asyncio.wait_for(reading, WITHIN_S)) == {0}
        await producer.aclose()


@pytest.mark.kafka
async def test_closing_ends_while_the_broker_is_away(own_kafka: tuple[ServiceProcess, str]) -> None:
    service, bootstrap = own_kafka
    topic = f"t{uuid.uuid4().hex[:16]}"
    bus = KafkaBus(Settings(kafka_bootstrap=bootstrap), timeout_ms=2_000)
    await bus.create_topics({topic: (1, {})})
    producer, consumer = await bus.producer(), await bus.consumer(topic, [topic])
    await producer.send([Outgoing(topic, b"v")])
    await asyncio.to_thread(service.kill)
    sending = asyncio.create_task(producer.send([Outgoing(topic, b"v")]))
    await asyncio.sleep(0)
    async with asyncio.timeout(WITHIN_S):
        await asyncio.gather(producer.aclose(), consumer.aclose(), bus.aclose())
        with pytest.raises(Transient):
            await sending
