"""Offsets of a log that took the place of another one: they count on, on the twin and on a real broker."""

import uuid
from collections.abc import AsyncIterator

import pytest

from runtime.bus.epochs import AdoptedLog, first_offset
from runtime.bus.fetch import fetch_records
from runtime.bus.kafka import KafkaBus
from runtime.bus.memory import MemoryBus
from runtime.bus.port import Bus, Consumer, Outgoing, Partition, Record
from runtime.errors import AnotherLog
from runtime.settings import Settings
from tests.support.polling import eventually_async

EPOCH = 3
FIRST = first_offset(EPOCH)


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.kafka)])
async def later(request: pytest.FixtureRequest) -> AsyncIterator[Bus]:
    """Yield a bus whose log has the epoch 3."""
    if request.param == "memory":
        yield MemoryBus(epoch=EPOCH)
        return
    settings = Settings(kafka_bootstrap=request.getfixturevalue("kafka"), session_timeout_ms=2_000)
    async with KafkaBus(settings) as bus:
        identity = await bus.log_identity([])

    async def read_adopted() -> AdoptedLog:
        return AdoptedLog(EPOCH, identity)

    async with KafkaBus(settings, read_adopted=read_adopted) as bus:
        yield bus


@pytest.fixture
async def topic(later: Bus) -> str:
    name = f"t{uuid.uuid4().hex[:16]}"
    await later.create_topics({name: (1, {})})
    producer = await later.producer()
    sent = await producer.send([Outgoing(name, str(number).encode(), b"k") for number in range(4)])
    await producer.aclose()
    assert sent == [(0, FIRST + number) for number in range(4)]
    return name


async def read(consumer: Consumer, count: int) -> list[Record]:
    records: list[Record] = []

    async def poll() -> list[Record]:
        for polled in (await consumer.poll(200, 100)).values():
            records.extend(polled)
        return records

    await eventually_async(poll, lambda came: len(came) >= count)
    return records


async def test_offsets_begin_where_the_epoch_begins(later: Bus, topic: str) -> None:
    assert later.first_offset == FIRST
    assert await later.start_offsets(topic) == {0: FIRST}
    assert await later.end_offsets(topic) == {0: FIRST + 4}
    reader = await later.reader([topic])
    assert [record.offset for record in await read(reader, 4)] == [FIRST + number for number in range(4)]
    assert await reader.position(Partition(topic, 0)) == FIRST + 4
    await reader.aclose()


async def test_what_was_committed_is_read_on_from_there(later: Bus, topic: str) -> None:
    group, partition = uuid.uuid4().hex, Partition(topic, 0)
    consumer = await later.consumer(group, [topic])
    await read(consumer, 4)
    await consumer.commit({partition: FIRST + 3})
    assert await later.committed(group, topic) == {0: FIRST + 3}
    await consumer.seek(partition, FIRST + 1)
    assert [record.value for record in await read(consumer, 3)] == [b"1", b"2", b"3"]
    await consumer.aclose()
    second = await later.consumer(group, [topic])
    assert [record.value for record in await read(second, 1)] == [b"3"]
    await second.aclose()


async def test_a_position_in_an_earlier_log_is_before_everything(later: Bus, topic: str) -> None:
    consumer = await later.consumer(uuid.uuid4().hex, [topic])
    await read(consumer, 4)
    await consumer.seek(Partition(topic, 0), first_offset(EPOCH - 1) + 41_000)
    assert [record.value for record in await read(consumer, 4)] == [b"0", b"1", b"2", b"3"]
    await consumer.aclose()


async def test_records_are_fetched_by_their_places_and_those_of_an_earlier_log_are_missing(later: Bus, topic: str) -> None:
    partition = Partition(topic, 0)
    fetched = await fetch_records(later, topic, [(partition, FIRST + 2), (partition, 2)])
    assert {offset: record.value for (_, offset), record in fetched.items()} == {FIRST + 2: b"2"}


async def test_a_topic_that_is_made_again_has_another_identity(later: Bus, topic: str) -> None:
    first = await later.log_identity([topic, "missing"])
    assert set(first.topic_ids) == {topic}
    assert not first.difference(await later.log_identity([topic]))
    other = f"t{uuid.uuid4().hex[:16]}"
    await later.create_topics({other: (1, {})})
    assert (await later.log_identity([other])).topic_ids[other] != first.topic_ids[topic]


@pytest.mark.kafka
async def test_a_bus_refuses_another_log_until_it_is_adopted(kafka: str) -> None:
    settings = Settings(kafka_bootstrap=kafka)
    topic = f"t{uuid.uuid4().hex[:16]}"
    async with KafkaBus(settings) as bus:
        await bus.create_topics({topic: (1, {})})
        identity = await bus.log_identity([topic])
    adopted = AdoptedLog(0, type(identity)("another cluster", {}))

    async def read_adopted() -> AdoptedLog | None:
        return adopted

    async with KafkaBus(settings, read_adopted=read_adopted) as bus:
        for call in (bus.ping, bus.producer, lambda: bus.reader([topic]), lambda: bus.end_offsets(topic)):
            with pytest.raises(AnotherLog, match="onefold adopt"):
                await call()
        assert bus.waits()
        adopted = AdoptedLog(1, identity)
        assert await bus.end_offsets(topic) == {0: first_offset(1)}
        await bus.ping()
        assert bus.waits() == []
        # The topic is deleted and made again, as it might be by hand.
        adopted = AdoptedLog(1, type(identity)(identity.cluster_id, {topic: "0" * 32}))
        async with KafkaBus(settings, read_adopted=read_adopted) as other:
            with pytest.raises(AnotherLog, match=f"the topic {topic} was deleted"):
                await other.ping()
