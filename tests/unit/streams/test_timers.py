"""Timers are said when due, once, again only when the evaluation seems lost, and never moved."""

import pytest

from profile_store.memory import MemoryStore
from profile_store.port import Place, Writes
from runtime.bus.memory import MemoryBus
from runtime.clock import ManualClock
from runtime.settings import Settings
from schemas.codec import decode
from schemas.records import Touched
from streams.timers import AGAIN_MS, BATCH, Timers

PLACE = Place("touched", 0, 1)


class Bench:
    def __init__(self) -> None:
        self.clock, self.bus, self.settings = ManualClock(), MemoryBus(), Settings()
        self.store, self.late, self.position = MemoryStore(self.clock), list[float](), 0

    async def start(self) -> None:
        await self.bus.create_topics({self.settings.topic("touched"): (1, {})})
        producer = await self.bus.producer()
        self.timers = Timers(self.settings, self.store, producer, self.clock, lambda: [PLACE], self.late.append)
        self.reader = await self.bus.reader([self.settings.topic("touched")])

    async def set(self, **timers: int | None) -> None:
        """Set timers (due in so many ms from now), as the segment agent does."""
        now_ms = self.clock.now_ms()
        due = {name: None if in_ms is None else now_ms + in_ms for name, in_ms in timers.items()}
        await self.store.save(PLACE, self.position or None, self.position + 1, Writes(timers=due))
        self.position += 1

    async def said(self) -> list[Touched]:
        found = (await self.reader.poll(0, 10_000)).values()
        return [decode(Touched, record.value) for records in found for record in records]


@pytest.fixture
async def bench() -> Bench:
    made = Bench()
    await made.start()
    return made


async def test_a_timer_is_said_when_it_is_due_and_not_before(bench: Bench) -> None:
    await bench.set(soon=100, later=500)
    assert await bench.timers.look(PLACE) == 0
    bench.clock.advance(150)
    assert await bench.timers.look(PLACE) == 1
    [touched] = await bench.said()
    assert (touched.profile_id, touched.cause, touched.at_ms) == ("soon", "timer", bench.clock.now_ms() - 50)
    assert bench.late == [0.05]


async def test_a_timer_is_said_once_while_its_evaluation_is_awaited(bench: Bench) -> None:
    await bench.set(soon=0)
    assert [await bench.timers.look(PLACE) for _ in range(3)] == [1, 0, 0]


async def test_a_timer_whose_evaluation_was_lost_is_said_again_for_the_same_instant(bench: Bench) -> None:
    await bench.set(soon=0)
    due_ms = bench.clock.now_ms()
    await bench.timers.look(PLACE)
    bench.clock.advance(AGAIN_MS)
    await bench.timers.look(PLACE)
    assert [touched.at_ms for touched in await bench.said()] == [due_ms, due_ms]


async def test_a_timer_set_anew_is_said_at_its_new_instant(bench: Bench) -> None:
    await bench.set(soon=0)
    await bench.timers.look(PLACE)
    await bench.set(soon=20)
    bench.clock.advance(20)
    assert await bench.timers.look(PLACE) == 1


async def test_timers_that_await_their_evaluation_do_not_hide_later_ones(bench: Bench) -> None:
    await bench.set(**{f"p{number}": 0 for number in range(BATCH + 10)})
    assert [await bench.timers.look(PLACE) for _ in range(3)] == [BATCH, 10, 0]


async def test_a_cleared_timer_is_not_said(bench: Bench) -> None:
    await bench.set(soon=10)
    await bench.set(soon=None)
    bench.clock.advance(10)
    assert await bench.timers.look(PLACE) == 0
