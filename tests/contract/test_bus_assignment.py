"""What a worker of several topics relies on: partitions in ranges, generations, and records by their places. On both buses."""

import asyncio
import functools
import uuid

import pytest

from runtime.bus.fetch import fetch_records
from runtime.bus.port import Bus, Consumer, Outgoing, Partition
from tests.support.polling import eventually_async

PARTITIONS = 4
wait_until = functools.partial(eventually_async, within_s=30)


@pytest.fixture
async def topics(bus: Bus) -> list[str]:
    names = [f"t{uuid.uuid4().hex[:16]}" for _ in range(2)]
    await bus.create_topics({name: (PARTITIONS, {}) for name in names})
    return names


class PollingMember:
    """A member of a group that polls in a task of its own until it leaves."""

    def __init__(self, consumer: Consumer) -> None:
        self.consumer = consumer
        self._task = asyncio.create_task(self._poll())

    async def _poll(self) -> None:
        while True:
            await self.consumer.poll(100, 50)

    async def leave(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self.consumer.aclose()


async def test_members_get_the_same_numbers_of_all_their_topics_and_a_new_generation_each_time(bus: Bus, topics: list[str]) -> None:
    first = PollingMember(await bus.consumer(topics[0], topics))
    all_partitions = {Partition(topic, number) for topic in topics for number in range(PARTITIONS)}
    assert first.consumer.assigned() == all_partitions
    alone = first.consumer.generation
    second = PollingMember(await bus.consumer(topics[0], topics))
    await wait_until(lambda: len(first.consumer.assigned()) == len(second.consumer.assigned()) == PARTITIONS)
    for member in (first, second):
        numbers = [{p.number for p in member.consumer.assigned() if p.topic == topic} for topic in topics]
        assert numbers[0] == numbers[1]
    shared = first.consumer.generation
    assert shared > alone
    assert first.consumer.generation == shared, "it is the same until partitions are assigned again"
    await second.leave()
    await wait_until(lambda: first.consumer.assigned() == all_partitions)
    assert first.consumer.generation > shared
    await first.leave()


async def test_single_records_are_fetched_by_their_places(bus: Bus, topics: list[str]) -> None:
    topic, producer = topics[0], await bus.producer()
    await producer.send([Outgoing(topic, str(n).encode(), partition=n % PARTITIONS) for n in range(40)])
    await producer.aclose()
    places = [(Partition(topic, 1), 3), (Partition(topic, 1), 0), (Partition(topic, 3), 9), (Partition(topic, 0), 99)]
    records = await fetch_records(bus, topic, [*places, places[0]])
    assert {place: record.value for place, record in records.items()} == {places[0]: b"13", places[1]: b"1", places[2]: b"39"}
    assert await fetch_records(bus, topic, []) == {}
