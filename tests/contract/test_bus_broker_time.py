"""When a record was received is what the broker says, whatever its producer says, and also on topics that exist already."""

import time
import uuid

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from runtime.bus.kafka import KafkaBus
from runtime.settings import Settings
from schemas.topics import by_name
from tests.support.polling import eventually_async

pytestmark = pytest.mark.kafka

IN_1970_MS = 1_000
BROKER_TIME = {"message.timestamp.type": "LogAppendTime"}


async def send_from_1970(kafka: str, topic: str) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=kafka)
    await producer.start()
    try:
        await producer.send_and_wait(topic, b"{}", timestamp_ms=IN_1970_MS)
    finally:
        await producer.stop()


async def timestamps(bus: KafkaBus, topic: str, count: int) -> list[int]:
    """Return the times of all records of a topic, once there are `count`."""
    reader = await bus.reader([topic])
    read: list[int] = []

    async def poll() -> list[int]:
        for records in (await reader.poll(200, 100)).values():
            read.extend(record.timestamp_ms for record in records)
        return read

    try:
        await eventually_async(poll, lambda came: len(came) >= count)
    finally:
        await reader.aclose()
    return read


async def own_settings(kafka: str, topic: str) -> dict[str, str]:
    """Return the settings of a topic that are no defaults."""
    client = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await client.start()
    try:
        (answer,) = await client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    finally:
        await client.close()
    return {name: value for name, value, _, source, *_rest in answer.resources[0][4] if source == 1}


@pytest.mark.parametrize("name", ["touchpoints", "events"])
def test_the_topics_that_events_come_in_by_have_the_time_of_the_broker(name: str) -> None:
    assert BROKER_TIME.items() <= dict(by_name(name).config).items()


async def test_a_topic_that_exists_gets_the_time_of_the_broker_and_keeps_what_its_operator_has_set(kafka: str) -> None:
    topic, before_ms = f"t{uuid.uuid4().hex[:16]}", int(time.time() * 1_000) - 60_000
    async with KafkaBus(Settings(kafka_bootstrap=kafka)) as bus:
        await bus.create_topics({topic: (1, {"retention.ms": "7200000000", "message.timestamp.before.max.ms": str(2**63 - 1)})})
        await send_from_1970(kafka, topic)
        for _ in range(2):
            await bus.create_topics({topic: (1, {"retention.ms": "3600000", **BROKER_TIME})})
        await send_from_1970(kafka, topic)
        first_ms, second_ms = await timestamps(bus, topic, 2)
    assert first_ms == IN_1970_MS
    assert second_ms > before_ms
    settings = await own_settings(kafka, topic)
    assert settings["retention.ms"] == "7200000000"
    assert settings["message.timestamp.type"] == "LogAppendTime"
