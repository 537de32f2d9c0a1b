"""Transactions of other systems' producers: aiokafka's own, since Onefold writes none."""

import uuid
from collections.abc import Sequence

from aiokafka import AIOKafkaProducer

from runtime.bus.kafka_connection import client_options
from runtime.settings import Settings


async def write_transaction(
    settings: Settings, topic: str, values: Sequence[bytes], *, commit: bool, partition: int | None = None
) -> None:
    """Write `values` in one transaction, and commit or abort it once the broker has all of them."""
    async with AIOKafkaProducer(**client_options(settings), transactional_id=f"t{uuid.uuid4().hex}") as producer:
        await producer.begin_transaction()
        for value in values:
            await producer.send_and_wait(topic, value, partition=partition)
        await (producer.commit_transaction() if commit else producer.abort_transaction())
