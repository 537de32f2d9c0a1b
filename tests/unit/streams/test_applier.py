"""The applier retries, decides again, quarantines a record, or has the process start again; it never raises."""

import base64
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from profile_store.memory import MemoryStore
from profile_store.port import DocumentKind, GuardedDocument, ProfileStore, TopicPartition, Writes
from runtime.bus.memory import MemoryBus
from runtime.bus.port import Outgoing, Partition, Producer, Record
from runtime.clock import ManualClock
from runtime.errors import Misconfigured, StateLost, TooLarge, Transient
from runtime.settings import Settings
from schemas.codec import decode
from schemas.quarantine import raw_bytes
from schemas.reasons import Reason
from schemas.records import QuarantineRecord
from streams import applier as module
from streams.applier import Applier, ExitCode
from streams.assigned_partitions import AssignedPartitions
from streams.outcome import Outcome

TOPIC = "onefold.events"
PARTITION = TopicPartition("events", 0, 1)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_BASE_MS", 0)
    monkeypatch.setattr(module, "PAUSE_POLL_S", 0)


@dataclass
class Recorder:
    """A step that appends offsets to one guarded document. `before` is called with each slice, and may raise."""

    store: ProfileStore
    before: Callable[[Sequence[Record]], None] = lambda _: None
    emit: Callable[[Record], bytes] = lambda record: b"%d" % record.offset
    name: str = "counting"
    topic: str = "events"
    slices: list[list[int]] = field(default_factory=list)

    async def run(self, topic_partition: TopicPartition, records: Sequence[Record], now_ms: int) -> Outcome:  # noqa: ARG002 - the step's shape
        self.slices.append([record.offset for record in records])
        checkpoint, documents, _ = await self.store.load(topic_partition, "fragment", ["d"])
        if checkpoint.paused:
            return Outcome(paused=True)
        self.before(records)
        new = [record.offset for record in records if record.offset > documents["d"].applied_offset(topic_partition)]
        text = (documents["d"].data or b"") + b"".join(b"%d " % offset for offset in new)
        written: dict[tuple[DocumentKind, str], GuardedDocument] = (
            {("fragment", "d"): GuardedDocument(text, topic_partition.guard_name, new[-1])} if new else {}
        )
        produce = tuple(Outgoing("emitted", self.emit(record)) for record in records)
        return Outcome(
            checkpoint.position,
            fence=checkpoint.fence,
            writes=Writes(documents=written),
            produce=produce,
            results=Counter(counted=len(new)),
        )


@dataclass
class ApplierBench:
    settings: Settings
    store: MemoryStore
    bus: MemoryBus
    step: Recorder
    assigned: AssignedPartitions
    applier: Applier
    stopped: list[ExitCode]
    current: bool = True

    async def apply(self, *offsets: int) -> bool:
        records = [Record(TOPIC, 0, offset, 1, None, b"v%d" % offset) for offset in offsets]
        return await self.applier.apply(PARTITION, records, lambda: self.current)

    async def applied(self) -> bytes:
        return (await self.store.documents("fragment", ["d"]))["d"].data or b""

    async def position(self) -> int | None:
        return (await self.store.checkpoint(PARTITION)).position

    async def emitted(self, topic: str = "emitted") -> list[bytes | None]:
        reader = await self.bus.reader([topic])
        return [record.value for log in (await reader.poll(20, 10_000)).values() for record in log]


class FailingProducer:
    """A producer that raises the given faults, one for each call, before it works."""

    def __init__(self, inner: Producer, faults: list[Exception]) -> None:
        self._inner, self._faults = inner, faults

    async def send(self, records: Sequence[Outgoing]) -> list[tuple[int, int]]:
        if self._faults:
            raise self._faults.pop(0)
        return await self._inner.send(records)

    async def aclose(self) -> None:
        await self._inner.aclose()


async def make_bench(tmp_path: Path, faults: list[Exception] | None = None, store: MemoryStore | None = None) -> ApplierBench:
    """Make a fresh process over `store` and over the notes of failed slices in `tmp_path`."""
    clock, settings, bus = ManualClock(), Settings(data_dir=tmp_path), MemoryBus()
    await bus.create_topics({name: (1, {}) for name in (TOPIC, "emitted", settings.topic("quarantine"))})
    store = store or MemoryStore(clock)
    step, assigned, stopped = Recorder(store), AssignedPartitions(bus, store, "events", 0), list[ExitCode]()
    await assigned.assign([Partition(TOPIC, 0)])
    producer = FailingProducer(await bus.producer(), faults if faults is not None else [])
    applier = Applier(settings, step, assigned=assigned, store=store, producer=producer, clock=clock, stop=stopped.append)
    return ApplierBench(settings, store, bus, step, assigned, applier, stopped)


async def test_slice_is_saved_with_its_position_before_records_are_published(tmp_path: Path) -> None:
    bench = await make_bench(tmp_path)
    assert await bench.apply(0, 1, 2)
    assert await bench.applied() == b"0 1 2 "
    assert await bench.position() == 3
    assert (await bench.emitted()) == [b"0", b"1", b"2"]


async def test_replay_republishes_without_changing_state_or_position(tmp_path: Path) -> None:
    bench = await make_bench(tmp_path)
    await bench.apply(0, 1, 2, 3)
    assert await bench.apply(0, 1)
    assert await bench.applied() == b"0 1 2 3 "
    assert await bench.position() == 4
    assert (await bench.emitted())[4:] == [b"0", b"1"]


async def test_transient_fault_is_retried_in_place(tmp_path: Path) -> None:
    bench = await make_bench(tmp_path, [Transient("no broker")] * 20)
    faults: list[Exception] = [Transient("no store")] * 20
    bench.step.before = lambda _: _raise_next(faults)
    assert await bench.apply(0, 1)
    assert await bench.applied() == b"0 1 "
    assert await bench.emitted() == [b"0", b"1"]
    assert bench.stopped == []


async def test_slice_of_a_revoked_partition_is_abandoned(tmp_path: Path) -> None:
    bench = await make_bench(tmp_path)
    bench.current = False
    bench.step.before = lambda _: _raise(Transient("no store"))
    assert not await bench.apply(0)
    assert bench.stopped == []


async def test_agent_waits_while_writers_are_paused(tmp_path: Path) -> None:
    bench = await make_bench(tmp_path)
    await bench.store.pause_writers(paused=True)
    release = iter(range(3))
    original = bench.step.run

    async def run(topic_partition: TopicPartition, records: Sequence[Record], now_ms: int) -> Outcome:
        if next(release, None) is None:
            await bench.store.pause_writers(paused=False)
        return await original(topic_partition, records, now_ms)

    bench.step.run = run  # type: ignore[method-assign]  # lifts the pause after some tries
    assert await bench.apply(0)
    assert await bench.applied() == b"0 "


async def test_a_race_lost_to_a_zombie_is_decided_again(tmp_path: Path) -> None:
    bench = await make_bench(tmp_path)
    original, races = bench.store.save, [1]

    async def save(
        topic_partition: TopicPartition, expected: int | None, position: int, writes: Writes, fence: int | None = None
    ) -> frozenset[tuple[DocumentKind, str]]:
        if races:
            races.pop()
            await original(
                topic_partition,
                expected,
                2,
                Writes(documents={("fragment", "d"): GuardedDocument(b"0 1 ", topic_partition.guard_name, 1)}),
            )
        return await original(topic_partition, expected, position, writes, fence)

    bench.store.save = save  # type: ignore[method-assign]  # a zombie that writes just before
    assert await bench.apply(0, 1, 2)
    assert await bench.applied() == b"0 1 2 "
    assert await bench.position() == 3
    assert bench.stopped == []


async def test_a_save_whose_answer_was_lost_counts_once(tmp_path: Path) -> None:
    bench = await make_bench(tmp_path)
    original, lost = bench.store.save, [1]

    async def save(
        topic_partition: TopicPartition, expected: int | None, position: int, writes: Writes, fence: int | None = None
    ) -> frozenset[tuple[DocumentKind, str]]:
        refused = await original(topic_partition, expected, position, writes, fence)
        if lost:
            lost.pop()
            raise Transient("no answer in time")
        return refused

    bench.store.save = save  # type: ignore[method-assign]  # saves and then cannot say so
    assert await bench.apply(0, 1)
    assert await bench.applied() == b"0 1 "
    assert await bench.emitted() == [b"0", b"1"]


async def test_a_store_that_came_back_older_stops_the_process(tmp_path: Path) -> None:
    bench = await make_bench(tmp_path)
    await bench.apply(0, 1, 2)
    await bench.store.wipe(["position", "fragment"])
    assert not await bench.apply(3)
    assert bench.stopped == [ExitCode.STATE_LOST]
    assert await bench.applied() == b""


async def test_lost_state_is_detected_without_new_records(tmp_path: Path) -> None:
    bench = await make_bench(tmp_path)
    await bench.apply(0, 1, 2)
    await bench.assigned.check_all()
    await bench.store.wipe(["position"])
    with pytest.raises(StateLost):
        await bench.assigned.check_all()


async def test_a_bug_that_happens_once_costs_a_restart_and_nothing_else(tmp_path: Path) -> None:
    bench = await make_bench(tmp_path)
    bench.step.before = lambda _: _raise(RuntimeError("once"))
    assert not await bench.apply(0, 1, 2)
    assert bench.stopped == [ExitCode.BUG]
    again = await make_bench(tmp_path, store=bench.store)
    assert await again.apply(0, 1, 2)
    assert await again.applied() == b"0 1 2 "
    assert again.stopped == []
    assert not (tmp_path / "streams" / "counting" / "failed.json").exists()


async def test_the_record_that_fails_always_is_quarantined_alone(tmp_path: Path) -> None:
    bench = await make_bench(tmp_path)
    bench.step.before = fails_on(1)
    await bench.apply(0, 1, 2)
    again = await make_bench(tmp_path, store=bench.store)
    again.step.before = fails_on(1)
    assert await again.apply(0, 1, 2)
    assert await again.applied() == b"0 2 "
    assert await again.position() == 3
    assert again.stopped == []
    [quarantined] = [decode(QuarantineRecord, value) for value in await again.emitted(again.settings.topic("quarantine"))]
    assert quarantined.id == f"counting-{TOPIC}-0-1"
    assert quarantined.reason == "poison"
    assert quarantined.counted is True
    assert base64.b64decode(quarantined.raw) == b"v1"


async def test_failed_slice_is_recognised_after_resplitting(tmp_path: Path) -> None:
    bench = await make_bench(tmp_path)
    bench.step.before = fails_on(4)
    await bench.apply(0, 1, 2, 3, 4, 5)
    again = await make_bench(tmp_path, store=bench.store)
    again.step.before = fails_on(4)
    assert await again.apply(0, 1, 2)
    assert await again.apply(3, 4, 5, 6, 7)
    assert await again.applied() == b"0 1 2 3 5 6 7 "
    assert again.stopped == []


async def test_configuration_error_quarantines_no_record(tmp_path: Path) -> None:
    bench = await make_bench(tmp_path)
    bench.step.before = lambda _: _raise(Misconfigured("the password is wrong"))
    assert not await bench.apply(0)
    assert bench.stopped == [ExitCode.MISCONFIGURED]
    assert not (tmp_path / "streams").exists()


async def test_a_record_that_the_broker_will_never_take_goes_into_quarantine_and_restarts_nothing(tmp_path: Path) -> None:
    bench = await make_bench(tmp_path)
    large = b'"Hu\xe1\xba\xbf",' * 1_200_000
    bench.step.emit = lambda record: large if record.offset == 1 else b"%d" % record.offset
    assert await bench.apply(0, 1, 2)
    assert bench.stopped == []
    assert await bench.applied() == b"0 1 2 "
    assert await bench.emitted() == [b"0", b"2"]
    assert await bench.apply(0, 1, 2)  # a replay
    quarantined = [decode(QuarantineRecord, value) for value in await bench.emitted(bench.settings.topic("quarantine"))]
    assert {(record.reason, record.stage, record.counted) for record in quarantined} == {(Reason.TOO_LARGE, "counting", False)}
    assert len({record.id for record in quarantined}) == 1
    assert raw_bytes(quarantined[0]) == large


async def test_where_the_broker_takes_less_than_usual_the_quarantine_record_goes_without_the_bytes(tmp_path: Path) -> None:
    bench = await make_bench(tmp_path, [TooLarge("the slice"), TooLarge("with its bytes")])
    assert await bench.apply(0)
    assert bench.stopped == []
    [quarantined] = [decode(QuarantineRecord, value) for value in await bench.emitted(bench.settings.topic("quarantine"))]
    assert (quarantined.raw, quarantined.reason) == ("", Reason.TOO_LARGE)


def fails_on(offset: int) -> Callable[[Sequence[Record]], None]:
    def before(records: Sequence[Record]) -> None:
        if any(record.offset == offset for record in records):
            raise RuntimeError("always")

    return before


def _raise(error: Exception) -> None:
    raise error


def _raise_next(faults: list[Exception]) -> None:
    if faults:
        raise faults.pop()


async def test_slice_decided_before_a_fence_is_decided_again(tmp_path: Path) -> None:
    bench = await make_bench(tmp_path)
    run, fences = bench.step.run, list[int]()

    async def late(topic_partition: TopicPartition, records: Sequence[Record], now_ms: int) -> Outcome:
        outcome = await run(topic_partition, records, now_ms)
        if not fences:
            fences.append((await bench.store.fence_writers(topic_partition)).fence)
            await bench.store.save(
                TopicPartition("other", 0, 1), None, 0, Writes({("fragment", "d"): GuardedDocument(b"by hand ", "by hand", 1)})
            )
        return outcome

    bench.step.run = late  # type: ignore[method-assign]  # fenced between load and save
    assert await bench.apply(0)
    assert await bench.applied() == b"by hand 0 "
    assert bench.stopped == []
