"""A topic whose broker takes smaller records than Onefold makes: the agents' producer quarantines such a record, and goes on."""

import os
import uuid

import pytest

from runtime.bus.kafka import KafkaBus
from runtime.bus.port import Outgoing
from runtime.clock import ManualClock
from runtime.errors import TooLarge
from runtime.settings import Settings
from schemas.codec import decode
from schemas.reasons import Reason
from schemas.records import QuarantineRecord
from streams.quarantining_producer import QuarantiningProducer

pytestmark = pytest.mark.kafka


async def test_what_the_topic_does_not_take_is_quarantined_and_the_rest_is_written(kafka: str) -> None:
    settings = Settings(kafka_bootstrap=kafka, environment=f"t{uuid.uuid4().hex[:12]}")
    small, quarantine = settings.topic("profiles"), settings.topic("quarantine")
    async with KafkaBus(settings) as bus:
        await bus.create_topics({small: (1, {"max.message.bytes": "20000"}), quarantine: (1, {})})
        inner = await bus.producer()
        large = Outgoing(small, os.urandom(40_000), b"k", 0)
        with pytest.raises(TooLarge):
            await inner.send([large])
        producer = QuarantiningProducer(settings, "segment", inner, ManualClock())
        await producer.send([Outgoing(small, b"first", b"k", 0), large, Outgoing(small, b"last", b"k", 0)])
        reader = await bus.reader([small, quarantine])
        values: dict[str, list[bytes]] = {small: [], quarantine: []}
        while not values[quarantine] or b"last" not in values[small]:
            for partition, records in (await reader.poll(1_000, 100)).items():
                values[partition.topic] += [record.value or b"" for record in records]
        await reader.aclose()
        await inner.aclose()
    assert list(dict.fromkeys(values[small])) == [b"first", b"last"]
    assert {decode(QuarantineRecord, value).reason for value in values[quarantine]} == {Reason.TOO_LARGE}
