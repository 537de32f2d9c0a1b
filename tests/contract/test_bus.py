"""What every bus promises: one suite, on the twin and on Kafka."""

import asyncio
import functools
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import pytest

from runtime.bus.partitioner import partition_of
from runtime.bus.port import Bus, Consumer, Outgoing, Partition, Record
from runtime.bus.record_limits import MAX_RECORD_BYTES
from runtime.errors import Permanent, TooLarge
from tests.support.polling import eventually_async

PARTITIONS = 4
WITHIN_S = 30
wait_until = functools.partial(eventually_async, within_s=WITHIN_S)


@pytest.fixture
def name() -> str:
    return f"t{uuid.uuid4().hex[:16]}"


@pytest.fixture
async def topic(bus: Bus, name: str) -> str:
    await bus.create_topics({name: (PARTITIONS, {"retention.ms": "3600000"})})
    return name


async def write(bus: Bus, records: Sequence[Outgoing]) -> list[tuple[int, int]]:
    producer = await bus.producer()
    try:
        return await producer.send(records)
    finally:
        await producer.aclose()


async def numbered(bus: Bus, topic: str, count: int) -> None:
    """`count` records with the values 0 to count - 1, dealt out over the partitions in turn."""
    await write(bus, [Outgoing(topic, str(n).encode(), partition=n % PARTITIONS) for n in range(count)])


async def read(consumer: Consumer, count: int, max_records: int = 100) -> list[Record]:
    """Poll until at least `count` records are read, and return them."""
    records: list[Record] = []
    async with asyncio.timeout(WITHIN_S):
        while len(records) < count:
            for found in (await consumer.poll(500, max_records)).values():
                records.extend(found)
    return records


def values(records: Sequence[Record]) -> list[int]:
    return sorted(int(record.value or b"-1") for record in records)


async def test_send_returns_partition_and_offset_of_each_record(bus: Bus, topic: str) -> None:
    outgoing = [Outgoing(topic, str(n).encode(), key=f"khách-{n}".encode()) for n in range(40)]
    places = await write(bus, outgoing)
    reader = await bus.reader([topic])
    found = {(record.partition, record.offset): record for record in await read(reader, 40)}
    await reader.aclose()
    assert [(found[place].key, found[place].value) for place in places] == [(o.key, o.value) for o in outgoing]
    assert len(set(places)) == 40


async def test_records_of_a_partition_keep_their_order(bus: Bus, topic: str) -> None:
    producer = await bus.producer()
    for start in range(0, 600, 200):
        await producer.send([Outgoing(topic, str(n).encode(), key=b"k%d" % (n % 7)) for n in range(start, start + 200)])
    await producer.aclose()
    reader = await bus.reader([topic])
    seen: dict[int, list[Record]] = {}
    for record in await read(reader, 600, max_records=37):
        seen.setdefault(record.partition, []).append(record)
    await reader.aclose()
    for records in seen.values():
        assert [record.offset for record in records] == list(range(len(records)))
        assert values(records) == [int(record.value or b"") for record in records]


async def test_concurrent_sends_of_one_producer_are_all_written(bus: Bus, topic: str) -> None:
    producer = await bus.producer()
    sends = [producer.send([Outgoing(topic, str(10 * n + m).encode(), key=b"%d" % m) for m in range(10)]) for n in range(20)]
    places = [place for answer in await asyncio.gather(*sends) for place in answer]
    await producer.aclose()
    assert len(set(places)) == 200
    reader = await bus.reader([topic])
    assert values(await read(reader, 200)) == list(range(200))
    await reader.aclose()


@pytest.mark.parametrize("key", [b"", b"a", b"ab", b"abc", b"abcd", "user_id:Nguyễn Thị Ánh".encode(), bytes(range(256))])
async def test_the_key_chooses_the_partition_as_in_java(bus: Bus, topic: str, key: bytes) -> None:
    [(partition, _)] = await write(bus, [Outgoing(topic, b"v", key=key)])
    assert partition == partition_of(key, PARTITIONS)


async def test_a_partition_may_be_chosen(bus: Bus, topic: str) -> None:
    places = await write(bus, [Outgoing(topic, b"v", key=b"k", partition=n) for n in (3, 0, 3)])
    assert places == [(3, 0), (0, 0), (3, 1)]


async def test_tombstones_headers_and_missing_keys_come_through(bus: Bus, topic: str) -> None:
    headers = (("kind", b"x"), ("kind", "đỏ".encode()), ("empty", b""))
    await write(bus, [Outgoing(topic, None, b"k", 0, headers), Outgoing(topic, b"", None, 0)])
    reader = await bus.reader([topic])
    first, second = await read(reader, 2)
    await reader.aclose()
    assert first.key == b"k"
    assert first.value is None
    assert first.headers == headers
    assert second.key is None
    assert second.value == b""
    assert second.headers == ()
    assert first.timestamp_ms > 1_600_000_000_000


async def test_sending_nothing_is_fine(bus: Bus) -> None:
    assert await write(bus, []) == []


async def test_an_empty_poll_ends_in_time_with_nothing(bus: Bus, topic: str) -> None:
    reader = await bus.reader([topic])
    assert await reader.poll(50, 10) == {}
    assert await reader.poll(0, 10) == {}
    await reader.aclose()


async def test_a_waiting_poll_is_woken_by_a_record(bus: Bus, topic: str) -> None:
    reader = await bus.reader([topic])
    async with asyncio.timeout(WITHIN_S):
        waiting = asyncio.create_task(reader.poll(WITHIN_S * 2_000, 10))
        await write(bus, [Outgoing(topic, b"7", b"k")])
        assert values([record for found in (await waiting).values() for record in found]) == [7]
    await reader.aclose()


async def test_a_poll_brings_no_more_than_asked(bus: Bus, topic: str) -> None:
    await numbered(bus, topic, 40)
    reader = await bus.reader([topic])
    seen: list[Record] = []
    async with asyncio.timeout(WITHIN_S):
        while len(seen) < 40:
            found = await reader.poll(500, 7)
            assert sum(len(records) for records in found.values()) <= 7
            assert all(records for records in found.values())
            seen.extend(record for records in found.values() for record in records)
    await reader.aclose()
    assert values(seen) == list(range(40))


async def test_uncommitted_records_are_redelivered(bus: Bus, topic: str, name: str) -> None:
    await numbered(bus, topic, 20)
    for _ in range(2):
        consumer = await bus.consumer(name, [topic])
        assert values(await read(consumer, 20)) == list(range(20))
        await consumer.aclose()
    assert await bus.committed(name, topic) == {}


async def test_after_a_commit_the_next_member_resumes_there(bus: Bus, topic: str, name: str) -> None:
    await numbered(bus, topic, 20)
    first = await bus.consumer(name, [topic])
    await read(first, 20)
    await first.commit({Partition(topic, 0): 5, Partition(topic, 1): 3, Partition(topic, 2): 5})
    await first.aclose()
    assert await bus.committed(name, topic) == {0: 5, 1: 3, 2: 5}
    second = await bus.consumer(name, [topic])
    records = await read(second, 7)
    await second.aclose()
    assert sorted((record.partition, record.offset) for record in records) == [(1, 3), (1, 4), *((3, n) for n in range(5))]


async def test_groups_do_not_see_each_others_commits(bus: Bus, topic: str, name: str) -> None:
    await numbered(bus, topic, 4)
    one = await bus.consumer(f"{name}-1", [topic])
    await read(one, 4)
    await one.commit({Partition(topic, n): 1 for n in range(PARTITIONS)})
    await one.aclose()
    other = await bus.consumer(f"{name}-2", [topic])
    assert values(await read(other, 4)) == [0, 1, 2, 3]
    await other.aclose()


class Member:
    """A consumer that reads and commits in a task of its own until it leaves; `holds` are the partitions that it has read."""

    def __init__(self, consumer: Consumer) -> None:
        self.consumer, self.holds, self.seen = consumer, set[int](), list[Record]()
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            for partition, records in (await self.consumer.poll(100, 50)).items():
                self.holds.add(partition.number)
                self.seen.extend(records)
                await self.consumer.commit({partition: records[-1].offset + 1})

    async def leave(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.consumer.aclose()


async def test_two_members_share_partitions_and_the_survivor_takes_over(bus: Bus, topic: str, name: str) -> None:
    members = [Member(consumer) for consumer in await asyncio.gather(*(bus.consumer(name, [topic]) for _ in range(2)))]
    sent = 0

    async def shared() -> bool:
        nonlocal sent
        for member in members:
            member.holds.clear()
        await numbered(bus, topic, 8)
        sent += 8
        await wait_until(caught_up)
        one, two = (member.holds for member in members)
        return len(one) == len(two) == 2 and not one & two

    async def caught_up() -> bool:
        return sum((await bus.committed(name, topic)).values()) == sent

    await wait_until(shared)
    await members[0].leave()
    before = len(members[1].seen)
    await numbered(bus, topic, 8)
    sent += 8
    await wait_until(caught_up)
    assert set(values(members[1].seen[before:])) >= set(range(8))
    await members[1].leave()
    every = {(record.partition, record.offset) for member in members for record in member.seen}
    assert len(every) == sent


async def test_a_commit_of_lost_partitions_is_ignored(bus: Bus, topic: str, name: str) -> None:
    await numbered(bus, topic, 4)
    consumer = await bus.consumer(name, [topic])
    await read(consumer, 4)
    await consumer.commit({Partition(topic, 0): 1, Partition("another-topic", 0): 9})
    await consumer.seek(Partition("another-topic", 0), 3)
    assert await bus.committed(name, topic) == {0: 1}
    await consumer.aclose()


async def test_seek_moves_back_and_forth(bus: Bus, topic: str) -> None:
    await write(bus, [Outgoing(topic, str(n).encode(), partition=1) for n in range(10)])
    reader = await bus.reader([topic])
    await read(reader, 10)
    await reader.seek(Partition(topic, 1), 7)
    assert values(await read(reader, 3)) == [7, 8, 9]
    await reader.seek(Partition(topic, 1), 2)
    assert values(await read(reader, 8)) == list(range(2, 10))
    await reader.aclose()


async def test_seek_beyond_the_end_resets_to_the_earliest_offset(bus: Bus, topic: str) -> None:
    await write(bus, [Outgoing(topic, b"1", partition=1)])
    reader = await bus.reader([topic])
    await read(reader, 1)
    await reader.seek(Partition(topic, 1), 50)
    assert values(await read(reader, 1)) == [1]
    await reader.aclose()


async def test_a_reader_sees_everything_and_commits_nothing(bus: Bus, topic: str, name: str) -> None:
    await bus.create_topics({f"{name}-2": (1, {})})
    await numbered(bus, topic, 8)
    await write(bus, [Outgoing(f"{name}-2", b"8")])
    readers = [await bus.reader([topic, f"{name}-2"]) for _ in range(2)]
    for reader in readers:
        assert values(await read(reader, 9)) == list(range(9))
        await reader.commit({Partition(topic, 0): 1})
        await reader.aclose()


async def test_a_readers_position_is_the_end_only_after_every_record_was_returned(bus: Bus, topic: str) -> None:
    await write(bus, [Outgoing(topic, str(n).encode(), partition=1) for n in range(10)])
    reader, partition = await bus.reader([topic]), Partition(topic, 1)
    assert await reader.position(partition) == 0
    returned = 0
    async with asyncio.timeout(WITHIN_S):
        while returned < 10:
            returned += sum(len(records) for records in (await reader.poll(500, 3)).values())
            assert await reader.position(partition) == returned
    await reader.poll(50, 3)
    assert await reader.position(partition) == 10
    assert await reader.position(Partition(topic, 2)) == 0
    await reader.seek(partition, 4)
    assert await reader.position(partition) == 4
    assert values(await read(reader, 6)) == list(range(4, 10))
    await reader.aclose()


async def test_starts_and_ends_cover_every_partition(bus: Bus, topic: str) -> None:
    assert await bus.end_offsets(topic) == dict.fromkeys(range(PARTITIONS), 0)
    await numbered(bus, topic, 6)
    assert await bus.end_offsets(topic) == {0: 2, 1: 2, 2: 1, 3: 1}
    assert await bus.start_offsets(topic) == dict.fromkeys(range(PARTITIONS), 0)


async def test_creating_a_topic_again_changes_nothing(bus: Bus, topic: str) -> None:
    await numbered(bus, topic, 4)
    await bus.create_topics({topic: (2, {})})
    assert await bus.end_offsets(topic) == dict.fromkeys(range(PARTITIONS), 1)


async def test_a_record_too_large_is_refused_and_the_next_is_written(bus: Bus, topic: str) -> None:
    producer = await bus.producer()
    with pytest.raises(TooLarge, match="larger"):
        await producer.send([Outgoing(topic, bytes(MAX_RECORD_BYTES), b"k", 0)])
    assert await producer.send([Outgoing(topic, b"v", b"k", 0)]) == [(0, 0)]
    await producer.aclose()


async def test_the_largest_record_comes_through_whole(bus: Bus, topic: str) -> None:
    value = uuid.uuid4().bytes * (MAX_RECORD_BYTES // 16)
    await write(bus, [Outgoing(topic, value, partition=0)])
    reader = await bus.reader([topic])
    [record] = await read(reader, 1)
    await reader.aclose()
    assert record.value == value


@pytest.mark.parametrize("wrong", [{"partition": PARTITIONS}, {"partition": -1}, {"value": None}], ids=str)
async def test_a_record_that_can_never_be_written_is_refused(bus: Bus, topic: str, wrong: Mapping[str, Any]) -> None:
    with pytest.raises(Permanent):
        await write(bus, [Outgoing(**{"topic": topic, "value": b"v", **wrong})])
    assert sum((await bus.end_offsets(topic)).values()) == 0


async def test_an_unknown_topic_is_refused_everywhere(bus: Bus, name: str) -> None:
    questions: list[Callable[[], Awaitable[object]]] = [
        lambda: write(bus, [Outgoing(name, b"v")]),
        lambda: bus.consumer(name, [name]),
        lambda: bus.reader([name]),
        lambda: bus.end_offsets(name),
        lambda: bus.start_offsets(name),
        lambda: bus.committed(name, name),
    ]
    for answer in await asyncio.gather(*(question() for question in questions), return_exceptions=True):
        assert isinstance(answer, Permanent)
        assert name in str(answer)


async def test_closed_clients_refuse_further_use(bus: Bus, topic: str) -> None:
    producer, reader = await bus.producer(), await bus.reader([topic])
    for thing in (producer, reader):
        await thing.aclose()
        await thing.aclose()
    with pytest.raises(Permanent):
        await producer.send([Outgoing(topic, b"v")])
    with pytest.raises(Permanent):
        await reader.poll(0, 1)


async def test_ping_answers(bus: Bus) -> None:
    await bus.ping()
