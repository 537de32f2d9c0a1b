"""The bookkeeping of commits: what is committed when slices are acknowledged in any order, over seeks and rebalances."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from faust.types import TP

from runtime.bus.port import Partition
from runtime.settings import Settings
from streams.faust_app import create_faust_app
from streams.slices import FetchedRecords, Slice, SliceConsumer, SliceScheduler

TP0, TP1 = TP("onefold.events", 0), TP("onefold.events", 1)


def records(first: int, last: int, tp: TP = TP0) -> list[Any]:
    return [
        SimpleNamespace(topic=tp.topic, partition=tp.partition, offset=offset, timestamp=1, timestamp_type=0)
        for offset in range(first, last + 1)
    ]


class StoredPositions:
    """An assignment with the positions that a store would have."""

    def __init__(self) -> None:
        self.stored: dict[Partition, int] = {}
        self.errors: list[BaseException] = []

    async def on_assigned(self, partitions: Collection[Partition]) -> Mapping[Partition, int]:
        return {partition: self.stored[partition] for partition in partitions if partition in self.stored}

    async def on_revoked(self) -> None:
        return

    def on_failure(self, error: BaseException) -> None:
        self.errors.append(error)


class SliceConsumerBench(SliceConsumer):
    """The consumer without its broker: assignment, committed and earliest offsets are given, and seeks are recorded."""

    committed: dict[TP, int | None]
    sought: dict[TP, int]
    earliest = 0

    def assignment(self) -> set[TP]:
        return set(self.committed)

    async def seek_to_committed(self) -> Mapping[TP, int]:
        return self.committed  # type: ignore[return-value]  # aiokafka says None for a partition without a commit

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        return dict.fromkeys(partitions, self.earliest)

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        self.sought = dict(partitions)


@pytest.fixture
def assignment() -> StoredPositions:
    return StoredPositions()


@pytest.fixture
async def consumer(tmp_path: Path, assignment: StoredPositions) -> AsyncIterator[SliceConsumerBench]:
    async def deliver(_: object) -> None:
        return

    app = create_faust_app(Settings(data_dir=tmp_path), "unify", "events", assignment=assignment, deliver=deliver)
    app.consumer_generation_id = 1
    cast("Any", app.topics)._acking_topics.add(TP0.topic)  # what a subscription does
    bench = SliceConsumerBench(app.transport, print, print, print)
    bench.committed, bench.sought = {TP0: None, TP1: None}, {}
    yield bench
    bench._thread.thread_loop.close()


def deliver(consumer: SliceConsumerBench, first: int, last: int, tp: TP = TP0) -> Any:
    return consumer._to_message(tp, Slice(tp, records(first, last, tp)))


def committable(consumer: SliceConsumerBench, tp: TP = TP0) -> int | None:
    offsets = consumer._filter_committable_offsets(list(consumer._filter_tps_with_pending_acks()))
    return offsets.get(tp)


def test_a_poll_becomes_one_slice_per_partition() -> None:
    slices = dict(cast("Any", SliceScheduler)().iterate({TP0: records(4, 9), TP1: [], TP("x", 2): records(0, 0)}))
    assert {tp: (one.offset, len(one.value)) for tp, one in slices.items()} == {TP0: (9, 6), TP("x", 2): (0, 1)}


async def test_slices_commit_in_order_however_they_are_acknowledged(consumer: SliceConsumerBench) -> None:
    first, second, third = deliver(consumer, 0, 9), deliver(consumer, 10, 19), deliver(consumer, 20, 29)
    consumer.ack(third)
    assert committable(consumer) is None
    consumer.ack(first)
    assert committable(consumer) == 10
    consumer.ack(second)
    assert committable(consumer) == 30


async def test_partitions_do_not_wait_for_each_other(consumer: SliceConsumerBench) -> None:
    deliver(consumer, 0, 9, TP0)
    consumer.ack(deliver(consumer, 0, 4, TP1))
    assert committable(consumer, TP1) == 5
    assert committable(consumer, TP0) is None


async def test_acknowledgement_from_before_a_rebalance_is_ignored(consumer: SliceConsumerBench) -> None:
    message = deliver(consumer, 0, 9)
    consumer.app.consumer_generation_id = 2
    assert consumer.ack(message) is False
    assert committable(consumer) is None


async def test_acknowledgement_from_before_a_seek_does_not_commit_redelivered_records(consumer: SliceConsumerBench) -> None:
    deliver(consumer, 10, 17)
    early = deliver(consumer, 18, 20)
    await consumer.perform_seek()
    again = deliver(consumer, 10, 20)
    consumer.ack(early)
    assert committable(consumer) is None
    consumer.ack(again)
    assert committable(consumer) == 21


async def test_replay_below_the_committed_offset_commits_nothing(consumer: SliceConsumerBench) -> None:
    consumer.committed = {TP0: 100}
    await consumer.perform_seek()
    consumer.ack(deliver(consumer, 40, 59))
    assert committable(consumer) is None
    assert not consumer._uncommitted[TP0]
    consumer.ack(deliver(consumer, 60, 119))
    assert committable(consumer) == 120


async def fetch_nothing(consumer: SliceConsumerBench, start: int, end: int) -> None:
    """Let the consumer fetch the offsets from `start` to `end`, at which no record lies."""

    async def getmany(*_: object) -> FetchedRecords:
        fetched = FetchedRecords()
        fetched.empty_ranges = [(TP0, start, end)]
        return fetched

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("faust.transport.drivers.aiokafka.Consumer._getmany", getmany)
        await consumer._getmany({TP0}, 1.0)


async def test_offsets_without_a_record_are_committed_once_everything_before_them_is_acknowledged(
    consumer: SliceConsumerBench,
) -> None:
    await consumer.perform_seek()
    first, second = deliver(consumer, 0, 9), deliver(consumer, 10, 19)
    await fetch_nothing(consumer, 20, 23)
    consumer.ack(second)
    assert committable(consumer) is None
    consumer.ack(first)
    assert committable(consumer) == 23
    assert committable(consumer) is None
    await fetch_nothing(consumer, 23, 24)
    assert committable(consumer) == 24


async def test_records_behind_offsets_without_a_record_hold_the_commit(consumer: SliceConsumerBench) -> None:
    await consumer.perform_seek()
    consumer.ack(deliver(consumer, 0, 9))
    await fetch_nothing(consumer, 10, 12)
    later = deliver(consumer, 12, 13)
    assert committable(consumer) == 12
    assert committable(consumer) is None
    consumer.ack(later)
    assert committable(consumer) == 14


async def test_partition_that_has_no_record_at_all_is_committed_to_its_end(consumer: SliceConsumerBench) -> None:
    await consumer.perform_seek()
    assert committable(consumer) is None
    await fetch_nothing(consumer, 0, 3)
    assert committable(consumer) == 3


async def test_replay_that_meets_offsets_without_a_record_never_moves_the_commit_back(consumer: SliceConsumerBench) -> None:
    consumer.committed = {TP0: 100}
    await consumer.perform_seek()
    await fetch_nothing(consumer, 100, 101)
    assert committable(consumer) == 101
    await consumer.perform_seek()
    consumer.ack(deliver(consumer, 40, 49))
    await fetch_nothing(consumer, 50, 60)
    assert committable(consumer) is None


@pytest.mark.parametrize(
    ("committed", "stored", "earliest", "start"),
    [
        (None, None, 0, 0),
        (50, None, 0, 50),
        (50, 30, 0, 30),
        (50, 70, 0, 50),
        (None, 30, 0, 0),
        (50, 0, 20, 20),
        (10, 30, 20, 20),
    ],
)
async def test_a_partition_starts_from_the_smaller_of_committed_and_stored(
    consumer: SliceConsumerBench, assignment: StoredPositions, committed: int | None, stored: int | None, earliest: int, start: int
) -> None:
    consumer.committed, consumer.earliest = {TP0: committed}, earliest
    assignment.stored = {} if stored is None else {Partition(TP0.topic, TP0.partition): stored}
    await consumer.perform_seek()
    assert consumer.sought == {TP0: start}


async def test_nothing_is_fetched_before_the_start_is_known(consumer: SliceConsumerBench, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = []

    async def getmany(*_: object) -> FetchedRecords:
        fetched.append(dict(consumer.sought))
        return FetchedRecords()

    monkeypatch.setattr("faust.transport.drivers.aiokafka.Consumer._getmany", getmany)
    fetch = asyncio.create_task(consumer._getmany({TP0}, 1.0))
    await asyncio.sleep(0)
    assert not fetched
    await consumer.perform_seek()
    await fetch
    assert fetched == [{TP0: 0, TP1: 0}]


async def test_a_seek_waits_for_the_fetch_under_way(consumer: SliceConsumerBench, monkeypatch: pytest.MonkeyPatch) -> None:
    release = asyncio.Event()

    async def getmany(*_: object) -> FetchedRecords:
        await release.wait()
        return FetchedRecords()

    monkeypatch.setattr("faust.transport.drivers.aiokafka.Consumer._getmany", getmany)
    await consumer.perform_seek()
    consumer.sought = {}
    fetch = asyncio.create_task(consumer._getmany({TP0}, 1.0))
    await asyncio.sleep(0)
    seek = asyncio.create_task(consumer.perform_seek())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not consumer.sought
    release.set()
    await asyncio.gather(fetch, seek)
    assert consumer.sought


async def test_unknown_start_offset_is_reported(
    consumer: SliceConsumerBench, assignment: StoredPositions, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object) -> Mapping[TP, int]:
        raise OSError("no broker")

    monkeypatch.setattr(SliceConsumerBench, "earliest_offsets", fails)
    with pytest.raises(OSError, match="no broker"):
        await consumer.perform_seek()
    assert [str(error) for error in assignment.errors] == ["no broker"]
