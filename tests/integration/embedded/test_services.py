"""The real broker and the real Redis server, alone."""

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from redis.asyncio import Redis

from tests.support.services import ServiceProcess


@pytest.mark.kafka
async def test_acknowledged_records_survive_a_kill_of_the_broker(own_kafka: tuple[ServiceProcess, str]) -> None:
    service, bootstrap = own_kafka
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic("kept", 1, 1)])
    await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True) as producer:
        for number in range(200):
            await producer.send("kept", f"Đặng Thị Ánh {number}".encode())
        await producer.flush()
        service.kill()
    service.start()
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest") as consumer:
        consumer.assign([TopicPartition("kept", 0)])
        values = [(await consumer.getone()).value.decode() for _ in range(200)]
    assert values == [f"Đặng Thị Ánh {number}" for number in range(200)]


@pytest.mark.redis
async def test_acknowledged_writes_survive_a_kill_of_redis(own_redis: tuple[ServiceProcess, str]) -> None:
    service, url = own_redis
    client = Redis.from_url(url, decode_responses=True)
    for number in range(200):
        await client.set(f"n:{number}", number)
    await client.aclose()
    service.kill()
    service.start()
    client = Redis.from_url(url, decode_responses=True)
    assert await client.dbsize() == 200
    await client.aclose()


@pytest.mark.kafka
@pytest.mark.redis
async def test_session_services_answer(kafka: str, redis_server: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    assert len((await admin.describe_cluster())["brokers"]) == 1
    await admin.close()
    client = Redis.from_url(redis_server)
    assert await client.ping() is True
    await client.aclose()
