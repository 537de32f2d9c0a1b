"""A follower comes to the end of its topic by the reader's position, on the twin and on Kafka."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from runtime.bus.compacted import read_to_end
from runtime.bus.follow import TopicFollower
from runtime.bus.kafka import KafkaBus
from runtime.bus.memory import MemoryBus
from runtime.bus.port import Bus, Outgoing, Partition, Reader, Record
from runtime.errors import Permanent, Transient
from runtime.settings import Settings

WITHIN_S = 90
COMPACTED = {
    "cleanup.policy": "compact",
    "segment.ms": "100",
    "min.cleanable.dirty.ratio": "0.01",
    "min.compaction.lag.ms": "0",
    "delete.retention.ms": "0",
}


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.kafka)])
async def bus(request: pytest.FixtureRequest) -> AsyncIterator[Bus]:
    if request.param == "memory":
        async with MemoryBus() as twin:
            yield twin
        return
    bootstrap = request.getfixturevalue("kafka")
    async with KafkaBus(Settings(kafka_bootstrap=bootstrap)) as broker:
        yield broker


@pytest.fixture
async def topic(bus: Bus) -> str:
    name = f"t{uuid.uuid4().hex[:16]}"
    await bus.create_topics({name: (1, COMPACTED)})
    return name


class AppliedRecords:
    """A projection that remembers the records that it was given."""

    def __init__(self) -> None:
        self.values: dict[bytes | None, bytes | None] = {}
        self.offsets: list[int] = []
        self.next_offset = 0

    def apply(self, key: bytes | None, value: bytes | None, offset: int) -> None:
        self.values[key] = value
        self.offsets.append(offset)
        self.next_offset = offset + 1

    def advance_to(self, next_offset: int) -> None:
        self.next_offset = max(self.next_offset, next_offset)


async def write(bus: Bus, topic: str, *records: tuple[bytes, bytes | None]) -> None:
    producer = await bus.producer()
    try:
        for key, value in records:
            await producer.send([Outgoing(topic, value, key)])
    finally:
        await producer.aclose()


async def compact(bus: Bus, topic: str, remaining: int) -> None:
    """Return once the topic has at most `remaining` records."""
    if isinstance(bus, MemoryBus):
        await bus.compact(topic)
    async with asyncio.timeout(WITHIN_S):
        while await count_records(bus, topic) > remaining:  # noqa: ASYNC110 - the cleaner tells nobody
            await asyncio.sleep(0.5)


async def count_records(bus: Bus, topic: str) -> int:
    reader, count = await bus.reader([topic]), 0
    try:
        end_offset = (await bus.end_offsets(topic))[0]
        while await reader.position(Partition(topic, 0)) < end_offset:
            count += sum(len(records) for records in (await reader.poll(100, 500)).values())
    finally:
        await reader.aclose()
    return count


@asynccontextmanager
async def following(follower: TopicFollower) -> AsyncIterator[None]:
    """Run the follower until the block ends; the block starts when it has caught up."""
    running = asyncio.create_task(follower.run())
    try:
        caught_up = asyncio.create_task(follower.caught_up.wait())
        await asyncio.wait({running, caught_up}, timeout=WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
        caught_up.cancel()
        if running.done():
            running.result()
        assert follower.caught_up.is_set(), "the follower has not come to the end of its topic"
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def wait_until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not condition():  # noqa: ASYNC110 - a projection has no event to wait for
            await asyncio.sleep(0.01)


class SilentReader:
    """A reader whose first polls bring nothing, as while the leader of the partition is away."""

    def __init__(self, inner: Reader, silent_polls: int) -> None:
        self._inner = inner
        self.silent_polls = silent_polls

    async def poll(self, timeout_ms: int, max_records: int) -> dict[Partition, list[Record]]:
        if self.silent_polls:
            self.silent_polls -= 1
            return {}
        return await self._inner.poll(timeout_ms, max_records)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def make_readers_silent(bus: Bus, monkeypatch: pytest.MonkeyPatch, silent_polls: int) -> None:
    open_reader = bus.reader

    async def open_silent_reader(topics: Any) -> Any:
        return SilentReader(await open_reader(topics), silent_polls)

    monkeypatch.setattr(bus, "reader", open_silent_reader)


async def test_a_reader_that_brings_nothing_for_a_while_is_not_at_the_end(
    bus: Bus, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write(bus, topic, *((b"k%d" % number, b"v") for number in range(5)))
    make_readers_silent(bus, monkeypatch, silent_polls=6)
    applied = AppliedRecords()
    async with following(TopicFollower(bus, topic, applied)):
        assert applied.offsets == [0, 1, 2, 3, 4]
        assert applied.next_offset == 5


async def test_a_topic_without_records_ends_at_once(bus: Bus, topic: str) -> None:
    applied = AppliedRecords()
    async with following(TopicFollower(bus, topic, applied)):
        assert applied.offsets == []
        assert applied.next_offset == 0


async def test_a_compacted_topic_is_read_to_its_end(bus: Bus, topic: str) -> None:
    await write(bus, topic, (b"a", b"1"), (b"a", b"2"), (b"b", b"1"), (b"b", None), (b"a", b"3"))
    await asyncio.sleep(0.2)  # longer than segment.ms, so that the next record starts a segment and the others may be compacted
    await write(bus, topic, (b"c", b"1"))
    await compact(bus, topic, remaining=3)
    applied = AppliedRecords()
    async with following(TopicFollower(bus, topic, applied)):
        assert {key: value for key, value in applied.values.items() if value is not None} == {b"a": b"3", b"c": b"1"}
        assert applied.offsets[0] > 0
        assert applied.next_offset == 6


async def test_later_records_are_applied_and_reported(bus: Bus, topic: str) -> None:
    applied, updates = AppliedRecords(), list[int]()

    async def on_update() -> None:
        updates.append(applied.next_offset)

    await write(bus, topic, (b"a", b"1"), (b"a", b"2"))
    async with following(TopicFollower(bus, topic, applied, on_update)):
        assert updates == [2]
        await write(bus, topic, (b"b", b"1"))
        await wait_until(lambda: updates[-1] == 3)
    assert applied.values == {b"a": b"2", b"b": b"1"}


async def test_a_topic_that_does_not_exist_is_an_error(bus: Bus) -> None:
    with pytest.raises(Permanent, match="create it first"):
        await TopicFollower(bus, "no-such-topic", AppliedRecords()).run()


async def test_the_compacted_end_of_the_twins_topic_is_passed_without_a_record() -> None:
    """Kafka never compacts a topic's last segment, so only the twin loses records at the very end."""
    bus, applied = MemoryBus(), AppliedRecords()
    await bus.create_topics({"t": (1, {})})
    await write(bus, "t", (b"a", b"1"), (b"b", b"1"), (b"b", None))
    await bus.compact("t")
    async with following(TopicFollower(bus, "t", applied)):
        assert applied.offsets == [0]
        assert applied.next_offset == 3


async def test_an_end_that_moves_back_does_not_hold_the_follower_up(monkeypatch: pytest.MonkeyPatch) -> None:
    bus, applied = MemoryBus(), AppliedRecords()
    await bus.create_topics({"t": (1, {})})
    await write(bus, "t", (b"a", b"1"))
    answers = [{0: 3}, {0: 3}]

    async def shrinking_end(_: str) -> dict[int, int]:
        return answers.pop(0) if answers else {0: 1}

    monkeypatch.setattr(bus, "end_offsets", shrinking_end)
    monkeypatch.setattr("runtime.bus.follow.POLL_MS", 1)
    async with following(TopicFollower(bus, "t", applied)):
        assert applied.offsets == [0]


async def test_faults_of_the_broker_are_waited_out_and_repeat_no_record(monkeypatch: pytest.MonkeyPatch) -> None:
    bus, applied, faults = MemoryBus(), AppliedRecords(), ["reader", "end_offsets", "poll", "poll"]
    await bus.create_topics({"t": (1, {})})
    await write(bus, "t", (b"a", b"1"), (b"b", b"1"))
    monkeypatch.setattr("runtime.bus.follow.RETRY_BASE_MS", 1)
    open_reader, end_offsets = bus.reader, bus.end_offsets

    async def fail_or(name: str, call: Callable[[], Awaitable[Any]]) -> Any:
        if name in faults:
            faults.remove(name)
            raise Transient("the broker is away")
        return await call()

    async def flaky_reader(topics: Any) -> Any:
        reader = await fail_or("reader", lambda: open_reader(topics))
        poll = reader.poll
        monkeypatch.setattr(reader, "poll", lambda *arguments: fail_or("poll", lambda: poll(*arguments)))
        return reader

    monkeypatch.setattr(bus, "reader", flaky_reader)
    monkeypatch.setattr(bus, "end_offsets", lambda name: fail_or("end_offsets", lambda: end_offsets(name)))
    async with following(TopicFollower(bus, "t", applied)):
        assert applied.offsets == [0, 1]
    assert faults == []


async def test_a_fault_of_an_update_ends_the_follower() -> None:
    bus = MemoryBus()
    await bus.create_topics({"t": (1, {})})

    async def fail() -> None:
        raise Transient("a store is away")

    follower = TopicFollower(bus, "t", AppliedRecords(), fail)
    with pytest.raises(Transient, match="a store"):
        await follower.run()
    assert not follower.caught_up.is_set()


async def test_a_topic_whose_last_records_were_compacted_is_read_whole_once() -> None:
    bus = MemoryBus()
    await bus.create_topics({"t": (1, {})})
    await write(bus, "t", (b"a", b"1"), (b"b", b"1"), (b"b", None))
    await bus.compact("t")
    records = await asyncio.wait_for(read_to_end(bus, "t"), 10)
    assert {key: record.value for key, record in records.items()} == {b"a": b"1"}
