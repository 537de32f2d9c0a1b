"""What producers of other systems write to a real broker, in transactions and in any codec.

What was aborted is never read, and what marks a transaction holds no position back.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaProducer

from runtime.bus.compacted import read_to_end
from runtime.bus.kafka import KafkaBus
from runtime.bus.port import Consumer, Outgoing, Partition
from runtime.settings import Settings
from tests.support.polling import eventually_async
from tests.support.transactions import write_transaction

pytestmark = pytest.mark.kafka


@pytest.fixture
async def bus(kafka: str) -> AsyncIterator[KafkaBus]:
    async with KafkaBus(Settings(kafka_bootstrap=kafka, session_timeout_ms=2_000)) as broker:
        yield broker


@pytest.fixture
async def topic(bus: KafkaBus) -> str:
    name = f"t{uuid.uuid4().hex[:16]}"
    await bus.create_topics({name: (1, {"retention.ms": "3600000"})})
    return name


async def poll_values(consumer: Consumer, values: list[bytes | None]) -> list[bytes | None]:
    """Poll once, and return `values` with those that came."""
    for records in (await consumer.poll(200, 100)).values():
        values += [record.value for record in records]
    return values


async def values_by_key(bus: KafkaBus, topic: str) -> dict[bytes | None, bytes | None]:
    """Return the last value of each key of a topic."""
    return {key: record.value for key, record in (await read_to_end(bus, topic)).items()}


async def test_records_of_aborted_transactions_are_not_read(bus: KafkaBus, kafka: str, topic: str) -> None:
    await write_transaction(Settings(kafka_bootstrap=kafka), topic, [b"1", b"2"], commit=True)
    await write_transaction(Settings(kafka_bootstrap=kafka), topic, [b"aborted"], commit=False)
    await write_transaction(Settings(kafka_bootstrap=kafka), topic, [b"3"], commit=True)
    for consumer in (await bus.reader([topic]), await bus.consumer(topic, [topic])):
        values: list[bytes | None] = []
        await eventually_async(lambda: poll_values(consumer, values), lambda came: len(came) >= 3)  # noqa: B023 - polled at once
        assert values == [b"1", b"2", b"3"]
        await consumer.aclose()


@pytest.mark.parametrize("commit", [True, False])
async def test_position_and_commit_pass_the_end_of_a_transaction(bus: KafkaBus, kafka: str, topic: str, commit: bool) -> None:
    producer = await bus.producer()
    await producer.send([Outgoing(topic, b"1")])
    await producer.aclose()
    await write_transaction(Settings(kafka_bootstrap=kafka), topic, [b"2", b"3"], commit=commit)
    assert await bus.end_offsets(topic) == {0: 4}
    reader, partition = await bus.reader([topic]), Partition(topic, 0)

    async def read_position() -> int:
        await reader.poll(200, 100)
        return await reader.position(partition)

    await eventually_async(read_position, lambda position: position == 4)
    await reader.aclose()

    consumer, last_offset = await bus.consumer(topic, [topic]), 2 if commit else 0

    async def commit_last_record() -> dict[int, int]:
        await consumer.poll(200, 100)
        await consumer.commit({partition: last_offset + 1})
        return await bus.committed(topic, topic)

    await eventually_async(commit_last_record, lambda committed: committed == {0: 4})
    await consumer.aclose()


async def test_topic_that_ends_with_an_aborted_transaction_is_read_to_its_end(bus: KafkaBus, kafka: str, topic: str) -> None:
    await write_transaction(Settings(kafka_bootstrap=kafka), topic, [b"1"], commit=True)
    await write_transaction(Settings(kafka_bootstrap=kafka), topic, [b"aborted"] * 3, commit=False)
    assert await values_by_key(bus, topic) == {None: b"1"}


async def test_open_transaction_is_neither_read_nor_part_of_the_end(bus: KafkaBus, kafka: str, topic: str) -> None:
    async with AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=topic) as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"open")
        assert await bus.end_offsets(topic) == {0: 0}
        assert await asyncio.wait_for(read_to_end(bus, topic), 10) == {}
        await producer.commit_transaction()
    assert await values_by_key(bus, topic) == {None: b"open"}


@pytest.mark.parametrize("codec", [None, "gzip", "snappy", "lz4", "zstd"])
async def test_records_of_every_codec_are_read(bus: KafkaBus, kafka: str, topic: str, codec: str | None) -> None:
    value = "Nguyễn Thị Ánh Tuyết ".encode() * 100
    async with AIOKafkaProducer(bootstrap_servers=kafka, compression_type=codec) as producer:
        await producer.send_and_wait(topic, value)
    assert await values_by_key(bus, topic) == {None: value}
