"""Timers are emitted when due, the earliest first, never more than there is room for, and again only when they are stuck."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profile_store.port import TopicPartition, Writes
from runtime.bus.port import Partition
from runtime.errors import Transient
from schemas.instants import NEVER
from streams import timers as module
from streams.in_flight_timers import IDLE_POLL_INTERVAL_MS, STUCK_RETRY_MAX_MS
from streams.timers import MAX_IN_FLIGHT, Timers
from tests.support.polling import eventually_async
from tests.support.timers_bench import PARTITION, CountingStore, TimersBench


@pytest.fixture
async def bench() -> TimersBench:
    bench = TimersBench()
    await bench.start()
    return bench


async def test_timer_is_sent_when_due_and_not_before(bench: TimersBench) -> None:
    await bench.set(soon=100, later=500)
    assert await bench.poll() == 0
    assert await bench.advance_and_poll(99) == 0
    assert await bench.advance_and_poll(1) == 1
    [touched] = await bench.touches()
    assert touched.profile_id == "soon"
    assert touched.cause == "timer"
    assert touched.at_ms == bench.clock.now_ms()
    assert bench.late_ms == [0]


async def test_lateness_runs_from_the_due_instant_to_the_touch(bench: TimersBench) -> None:
    await bench.set(soon=0, sooner=-30)
    await bench.advance_and_poll(20)
    assert bench.late_ms == [50, 20]


async def test_store_is_not_polled_before_the_next_known_timer(bench: TimersBench) -> None:
    await bench.set(soon=1000)
    for _ in range(19):
        await bench.advance_and_poll()
    assert bench.store.poll_count == 1
    await bench.set(later=60_000)
    await bench.advance_and_poll(49)
    assert bench.store.poll_count == 1
    await bench.set(sooner=0)
    assert await bench.poll() == 1
    assert bench.store.poll_count == 2


async def test_topic_partition_is_polled_at_the_maximum_interval(bench: TimersBench) -> None:
    await bench.poll()
    await bench.store.save(PARTITION, None, 0, Writes(timers={"set-elsewhere": bench.clock.now_ms()}))
    assert await bench.advance_and_poll(IDLE_POLL_INTERVAL_MS - 1) == 0
    assert await bench.advance_and_poll(1) == 1


async def test_timer_is_sent_once_while_its_evaluation_is_pending(bench: TimersBench) -> None:
    await bench.set(soon=0)
    assert [
        await bench.poll(),
        await bench.advance_and_poll(),
        await bench.advance_and_poll(IDLE_POLL_INTERVAL_MS),
        await bench.advance_and_poll(3_600_000),
    ] == [
        1,
        0,
        0,
        0,
    ]


async def test_evaluated_timer_is_sent_again_at_its_next_instant(bench: TimersBench) -> None:
    await bench.set(soon=0)
    await bench.poll()
    await bench.evaluate(soon=120)
    assert [await bench.advance_and_poll(119), await bench.advance_and_poll(1)] == [0, 1]
    assert [t.at_ms for t in await bench.touches()] == [bench.clock.now_ms() - 120, bench.clock.now_ms()]


async def test_timer_rescheduled_in_flight_is_sent_at_its_new_instant(bench: TimersBench) -> None:
    await bench.set(earlier=0, later=0)
    await bench.poll()
    await bench.set(earlier=-10, later=100)
    assert [await bench.advance_and_poll(50), await bench.advance_and_poll(50)] == [1, 1]
    emitted = [(t.profile_id, t.at_ms - bench.clock.now_ms()) for t in await bench.touches()]
    assert emitted == [("earlier", -100), ("later", -100), ("earlier", -110), ("later", 0)]


async def test_cleared_timer_is_not_sent(bench: TimersBench) -> None:
    await bench.set(soon=10)
    await bench.set(soon=None)
    assert await bench.advance_and_poll() == 0


async def test_timers_of_one_instant_are_sent_in_order_at_evaluation_speed(bench: TimersBench) -> None:
    names = [f"p{number:04}" for number in range(3 * MAX_IN_FLIGHT)]
    await bench.set(**dict.fromkeys(reversed(names), 0))
    assert await bench.poll() == MAX_IN_FLIGHT
    while len(bench.evaluated) < len(names):
        assert len(await bench.touches()) - len(bench.evaluated) <= MAX_IN_FLIGHT
        await bench.evaluate(300)
        await bench.poll()
    assert [name for name, _ in bench.evaluated] == names
    assert bench.store.poll_count <= 2 * len(names) / MAX_IN_FLIGHT + 2
    assert max(bench.store.limits) <= MAX_IN_FLIGHT


async def test_in_flight_timers_do_not_hide_earlier_ones(bench: TimersBench) -> None:
    await bench.set(**{f"p{number:04}": 0 for number in range(2 * MAX_IN_FLIGHT)})
    await bench.poll()
    await bench.set(early=-1)
    await bench.evaluate(MAX_IN_FLIGHT)
    await bench.poll()
    assert (await bench.touches())[MAX_IN_FLIGHT].profile_id == "early"


async def test_store_is_not_polled_while_the_segment_agent_is_stopped(bench: TimersBench) -> None:
    await bench.set(**{f"p{number:04}": 0 for number in range(2 * MAX_IN_FLIGHT)})
    await bench.poll()
    for _ in range(1000):
        assert await bench.advance_and_poll() == 0
    assert bench.store.poll_count == 1


async def test_in_flight_capacity_is_shared_by_topic_partitions() -> None:
    bench = TimersBench()
    await bench.start(partitions=4)
    for number in range(4):
        due = {f"{number}-{name}": bench.clock.now_ms() for name in range(MAX_IN_FLIGHT)}
        await bench.store.save(TopicPartition("touched", number, 4), None, 0, Writes(timers=due))
    await bench.poll()
    assert len(await bench.touches()) == MAX_IN_FLIGHT


async def test_stuck_timer_is_resent_with_growing_delay(bench: TimersBench) -> None:
    await bench.set(poison=0)
    due_ms = bench.clock.now_ms()
    emitted_counts = [await bench.poll()]
    for _ in range(1_000):
        await bench.save({}, len(await bench.touches()))  # passed, and nothing was written
        emitted_counts.append(await bench.advance_and_poll(600))
    assert sum(emitted_counts[:100]) == 8
    assert sum(emitted_counts[100:]) == 5
    assert {t.at_ms for t in await bench.touches()} == {due_ms}
    await bench.save({}, len(await bench.touches()))
    assert await bench.advance_and_poll(STUCK_RETRY_MAX_MS) == 1


async def test_stuck_timers_do_not_hide_others(bench: TimersBench) -> None:
    await bench.set(**{f"poison{number:04}": -5 for number in range(MAX_IN_FLIGHT)})
    await bench.poll()
    await bench.save({}, MAX_IN_FLIGHT)
    await bench.advance_and_poll(IDLE_POLL_INTERVAL_MS)
    await bench.set(sound=0)
    await bench.advance_and_poll()
    assert "sound" in [t.profile_id for t in await bench.touches()]


async def test_crash_around_sending_resends_and_loses_no_timer(bench: TimersBench) -> None:
    await bench.set(emitted=0, pending=30)
    await bench.poll()
    bench.clock.advance(30)
    await bench.lose_memory()
    assert await bench.poll() == 2
    assert [t.profile_id for t in await bench.touches()] == ["emitted", "emitted", "pending"]


async def test_after_a_rebuild_that_wiped_them_timers_come_anew_from_evaluations(bench: TimersBench) -> None:
    await bench.set(under_way=0, later=60)
    await bench.poll()
    await bench.store.wipe(["timer"])
    assert await bench.advance_and_poll(100) == 0
    await bench.evaluate(under_way=60)
    await bench.set(later=60)
    assert await bench.advance_and_poll(60) == 2
    assert [t.profile_id for t in await bench.touches()] == ["under_way", "later", "under_way"]


async def test_reassigned_topic_partition_is_polled_anew(bench: TimersBench) -> None:
    await bench.set(soon=10_000)
    await bench.poll()
    tps = [Partition(bench.settings.topic("touched"), 0)]
    await bench.assigned.assign([])
    await bench.poll()
    await bench.store.save(PARTITION, 0, 7, Writes(timers={"soon": bench.clock.now_ms()}))  # another worker
    await bench.assigned.assign(tps)
    assert await bench.poll() == 1


async def test_doubtful_save_makes_its_topic_partition_polled(bench: TimersBench) -> None:
    await bench.poll()
    await bench.store.save(PARTITION, None, 1, Writes(timers={"soon": bench.clock.now_ms()}))  # the answer was lost
    assert await bench.advance_and_poll() == 0
    bench.assigned.advance(PARTITION, 1)
    bench.assigned.mark_timers_unknown(PARTITION)
    assert await bench.poll() == 1


async def test_failed_poll_or_send_is_retried(bench: TimersBench) -> None:
    await bench.set(soon=0)
    bench.store.faults.append(Transient("away"))
    with pytest.raises(Transient):
        await bench.poll()
    bench.faults.append(Transient("away"))
    with pytest.raises(Transient):
        await bench.advance_and_poll()
    assert await bench.touches() == []
    assert bench.late_ms == []
    assert await bench.advance_and_poll() == 1


async def test_partition_is_not_polled_within_the_minimum_interval(bench: TimersBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_INTERVAL_S", 3_600)
    async with bench.running():
        await eventually_async(lambda: bench.store.poll_count == 1)
        await bench.set(soon=0)
        for _ in range(100):
            await asyncio.sleep(0)
    assert bench.store.poll_count == 1


async def test_timer_that_is_set_right_after_a_poll_is_sent_although_the_clock_stands(bench: TimersBench) -> None:
    async with bench.running():
        await eventually_async(lambda: bench.store.poll_count == 1)
        await bench.set(soon=0)
        await eventually_async(lambda: bench.late_ms == [0])


async def test_waiting_topic_partition_does_not_block_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TICK_S", 0)
    bench, never, emitted = TimersBench(), asyncio.Event(), asyncio.Event()
    await bench.start(partitions=2)

    class HangingStore(CountingStore):
        async def due_timers(self, topic_partition: TopicPartition, until_ms: int, limit: int) -> list[tuple[str, int]]:
            if topic_partition.partition == 0:
                await never.wait()
            return await super().due_timers(topic_partition, until_ms, limit)

    def observe_lateness(_: int) -> None:
        emitted.set()

    store = HangingStore(bench.clock)
    await store.save(TopicPartition("touched", 1, 2), None, 0, Writes(timers={"p": bench.clock.now_ms()}))
    timers = Timers(
        bench.settings,
        store=store,
        producer=await bench.bus.producer(),
        clock=bench.clock,
        assigned=bench.assigned,
        observe_lateness=observe_lateness,
    )
    bench.timers = timers
    async with bench.running():
        await asyncio.wait_for(emitted.wait(), 30)
    assert [touched.profile_id for touched in await bench.touches()] == ["p"]
    assert not never.is_set()


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.integers(0, 30), st.integers(-50, 500)),
        st.tuples(st.just("evaluate"), st.integers(1, 20), st.integers(-5, 300)),
        st.tuples(st.just("wait"), st.integers(0, 200), st.just(0)),
        st.tuples(st.just("crash"), st.just(0), st.just(0)),
        st.tuples(st.just("broker"), st.just(0), st.just(0)),
    ),
    max_size=60,
)


@given(STEPS)
def test_every_timer_is_evaluated_for_its_instant_in_the_end(steps: list[tuple[str, int, int]]) -> None:
    asyncio.run(_history(steps))


async def _history(steps: list[tuple[str, int, int]]) -> None:
    bench = TimersBench()
    await bench.start()
    for what, number, in_ms in steps:
        if what == "set":
            await bench.set(**{f"p{number}": in_ms})
        elif what == "evaluate":
            await bench.evaluate(number, **({f"p{number}": in_ms} if in_ms > 0 else {}))
        elif what == "crash":
            await bench.lose_memory()
        elif what == "broker" and bench.timers.partitions_to_poll():
            bench.faults.append(Transient("away"))
        else:
            bench.clock.advance(number)
        try:
            await bench.poll()
        except Transient:
            continue
    bench.faults.clear()
    stored = await bench.store.due_timers(PARTITION, NEVER, 1000)
    bench.clock.advance(1_000)
    for _ in range(4):
        await bench.advance_and_poll()
        await bench.evaluate()
    assert await bench.store.next_timer(PARTITION) is None
    assert set(stored) <= set(bench.evaluated)
    assert min(bench.late_ms, default=0) >= 0
