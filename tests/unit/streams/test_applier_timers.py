"""What the applier reports about timers: how late they were evaluated, and for which instants others were set."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from profile_store.memory import MemoryStore
from profile_store.port import TopicPartition, Writes
from runtime.bus.memory import MemoryBus
from runtime.bus.port import Partition, Record
from runtime.clock import ManualClock
from runtime.errors import Transient
from runtime.settings import Settings
from schemas.instants import NEVER
from streams import applier as module
from streams.applier import Applier
from streams.assigned_partitions import AssignedPartitions
from streams.metrics import METRICS
from streams.outcome import Outcome

TOPIC = "onefold.touched"
PARTITION = TopicPartition("touched", 0, 1)


@dataclass
class EvaluatingStep:
    """A step that needs `takes_ms` for a decision, evaluates timers that are `late_ms` late, and sets `timers`."""

    clock: ManualClock
    store: MemoryStore
    timers: dict[str, int | None] = field(default_factory=dict)
    late_ms: tuple[int, ...] = ()
    takes_ms: int = 0
    faults: list[Transient] = field(default_factory=list)
    name: str = "evaluating"
    topic: str = "touched"

    async def run(self, topic_partition: TopicPartition, records: Sequence[Record], now_ms: int) -> Outcome:  # noqa: ARG002 - the step's shape
        if self.faults:
            raise self.faults.pop()
        self.clock.advance(self.takes_ms)
        checkpoint = await self.store.checkpoint(topic_partition)
        return Outcome(checkpoint.position, writes=Writes(timers=self.timers), lateness_ms=self.late_ms)


class TimedApplierBench:
    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.store, self.bus, self.settings = MemoryStore(self.clock), MemoryBus(), Settings(data_dir=folder)
        self.step, self.assigned = EvaluatingStep(self.clock, self.store), AssignedPartitions(self.bus, self.store, "touched", 0)

    async def apply(self, offset: int, *, current: bool = True) -> bool:
        applier = Applier(
            self.settings,
            self.step,
            assigned=self.assigned,
            store=self.store,
            producer=await self.bus.producer(),
            clock=self.clock,
            stop=lambda _: None,
        )
        return await applier.apply(PARTITION, [Record(TOPIC, 0, offset, 1, None, b"")], lambda: current)


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TimedApplierBench:
    monkeypatch.setattr(module, "RETRY_BASE_MS", 0)
    made = TimedApplierBench(tmp_path)
    await made.bus.create_topics({TOPIC: (1, {})})
    await made.assigned.assign([Partition(TOPIC, 0)])
    made.assigned.pop_earliest_timer(PARTITION)
    return made


def lateness() -> tuple[float, float]:
    """Return how many timers were evaluated so far, and the sum of their lateness in seconds."""
    samples = [
        METRICS.registry.get_sample_value(f"onefold_timer_lateness_seconds_{part}", {"stage": "evaluated"})
        for part in ("count", "sum")
    ]
    return samples[0] or 0.0, samples[1] or 0.0


async def test_a_timers_lateness_counts_until_its_evaluation_is_applied(bench: TimedApplierBench) -> None:
    bench.step.late_ms, bench.step.takes_ms = (40, 0), 10
    count, seconds = lateness()
    assert await bench.apply(0)
    count_after, seconds_after = lateness()
    assert count_after == count + 2
    assert round(seconds_after - seconds, 6) == 0.06


async def test_what_was_not_applied_is_not_counted_as_late(bench: TimedApplierBench) -> None:
    bench.step.late_ms, bench.step.faults = (40,), [Transient("away")]
    before = lateness()
    assert not await bench.apply(0, current=False)
    assert lateness() == before


async def test_earliest_timer_set_by_slices_is_reported_once(bench: TimedApplierBench) -> None:
    saved: list[dict[str, int | None]] = [{"a": 500, "b": 300}, {"a": None}, {"c": 400}]
    for offset, timers in enumerate(saved):
        bench.step.timers = timers
        assert await bench.apply(offset)
    assert bench.assigned.position(PARTITION) == 3
    assert [bench.assigned.pop_earliest_timer(PARTITION), bench.assigned.pop_earliest_timer(PARTITION)] == [300, NEVER]


async def test_fault_resets_the_known_next_timer(bench: TimedApplierBench) -> None:
    bench.step.faults = [Transient("the answer was lost")]
    assert await bench.apply(0)
    assert bench.assigned.pop_earliest_timer(PARTITION) == 0


async def test_unassigned_topic_partition_is_ignored(bench: TimedApplierBench) -> None:
    other = TopicPartition("touched", 1, 2)
    bench.assigned.advance(other, 9, 5)
    bench.assigned.mark_timers_unknown(other)
    assert bench.assigned.position(other) == 0
    assert bench.assigned.pop_earliest_timer(other) == NEVER


async def test_fence_of_writers_resets_the_known_next_timer(bench: TimedApplierBench) -> None:
    await bench.assigned.check_all()
    await bench.store.fence_writers(PARTITION)
    assert bench.assigned.pop_earliest_timer(PARTITION) == NEVER
    await bench.assigned.check_all()
    assert [bench.assigned.pop_earliest_timer(PARTITION), bench.assigned.pop_earliest_timer(PARTITION)] == [0, NEVER]
    await bench.assigned.check_all()
    assert bench.assigned.pop_earliest_timer(PARTITION) == NEVER


async def test_assignment_resets_the_known_next_timer(bench: TimedApplierBench) -> None:
    await bench.assigned.assign([Partition(TOPIC, 0)])
    assert bench.assigned.pop_earliest_timer(PARTITION) == 0
