"""The floor: the same bytes through aiokafka, JSON, Redis MGET and SET, aiokafka and a ClickHouse insert, without any logic.

One process, three tasks; the time runs from the first record written to the last row inserted.
"""

import asyncio
import time
import uuid
from typing import Any

import orjson
import redis.asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from clickhouse_connect import get_async_client

from runtime.bus.kafka_connection import client_options
from runtime.settings import Settings


async def floor(settings: Settings, made: list[dict[str, Any]]) -> float:
    """Return the events per second of the same path without any logic."""
    options = client_options(settings)
    run = uuid.uuid4().hex[:8]
    first, second = f"floor-{run}-a", f"floor-{run}-b"
    admin = AIOKafkaAdminClient(**options)
    await admin.start()
    await admin.create_topics([NewTopic(name, 4, 1) for name in (first, second)])
    producer = AIOKafkaProducer(**options, enable_idempotence=True, compression_type="lz4", linger_ms=5)
    await producer.start()
    readers = [
        AIOKafkaConsumer(
            topic,
            **options,
            group_id=f"{topic}-g",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        )
        for topic in (first, second)
    ]
    for reader in readers:
        await reader.start()
    store = redis.asyncio.from_url(settings.redis_url.get_secret_value())
    warehouse = await get_async_client(dsn=settings.clickhouse_url.get_secret_value(), database=settings.clickhouse_database)
    await warehouse.command(
        f"CREATE TABLE IF NOT EXISTS floor_{run} (id String, name String, body String) ENGINE = MergeTree ORDER BY id"
    )
    try:
        started = time.perf_counter()
        await asyncio.gather(
            _write(producer, first, made),
            _state(readers[0], producer, store, second, len(made), run),
            _insert(readers[1], warehouse, f"floor_{run}", len(made)),
        )
        return len(made) / (time.perf_counter() - started)
    finally:
        await warehouse.command(f"DROP TABLE floor_{run}")
        await warehouse.close()
        for reader in readers:
            await reader.stop()
        await producer.stop()
        await admin.delete_topics([first, second])
        await admin.close()
        await store.aclose()


async def _write(producer: Any, topic: str, made: list[dict[str, Any]]) -> None:
    for start in range(0, len(made), 2_000):
        chunk = made[start : start + 2_000]
        sent = [await producer.send(topic, orjson.dumps(item), key=item["anonymousId"].encode()) for item in chunk]
        await asyncio.gather(*sent)


async def _state(reader: Any, producer: Any, store: Any, topic: str, count: int, run: str) -> None:
    seen = 0
    while seen < count:
        for records in (await reader.getmany(timeout_ms=200, max_records=1000)).values():
            items = [orjson.loads(record.value) for record in records]
            keys = [f"floor:{run}:{item['anonymousId']}" for item in items]
            await store.mget(keys)
            await store.mset({key: record.value for key, record in zip(keys, records, strict=True)})
            sent = [await producer.send(topic, record.value, key=record.key) for record in records]
            await asyncio.gather(*sent)
            seen += len(records)


async def _insert(reader: Any, warehouse: Any, table: str, count: int) -> None:
    seen = 0
    rows: list[tuple[str, str, str]] = []
    while seen < count:
        for records in (await reader.getmany(timeout_ms=200, max_records=5000)).values():
            for record in records:
                item = orjson.loads(record.value)
                rows.append((item["messageId"], item["event"], record.value.decode()))
        if len(rows) >= 10_000 or seen + len(rows) >= count:
            await warehouse.insert(table, rows, column_names=["id", "name", "body"])
            seen += len(rows)
            rows = []
