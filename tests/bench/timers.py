"""Measures timers: how fast a million are set, how late they are evaluated meanwhile, and the segment agent's limit.

A stream process (unify and segment agents) works on a broker and a Redis of its own. `python -m tests.bench.timers` prints its
part of the page; `--scale 0.1` gives a quick result.
"""

import argparse
import asyncio
import os
import random
import statistics
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import redis.asyncio

from profile_store.port import TopicPartition, Writes
from runtime.bus.partitioner import partition_of
from runtime.errors import StateLost
from schemas.records import Touched
from streams.steps.common import touch_record
from tests.support.services import kafka_spec, redis_spec, running_service
from tests.support.timer_stage import TimerStage, timer_stage

PARTITIONS: Final = 4
SLICE: Final = 1_000
SLOWEST_PER_S: Final = 300
"""How many people a second are brought into the segment at least; once the floor is known, a half of it."""
STEADY_S: Final = 20
LIVE_EVERY_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Setting:
    """How many timers were set, how many per second, and how many bytes each takes in Redis."""

    count: int
    per_s: float
    bytes_each: float


@dataclass(frozen=True, slots=True)
class Late:
    """How late the timers of one load fired: milliseconds from the due instant until the transition was sent to the broker."""

    load: str
    count: int
    p50_ms: float
    p99_ms: float
    most_ms: float
    asked_per_s: float
    seconds: float


@dataclass(frozen=True, slots=True)
class TimerFigures:
    """The figures of the timers' benchmark.

    `floor` is in evaluations per second; `live` are p50 and p99 in milliseconds without and during the burst.
    """

    setting: Setting
    floor: float
    lates: list[Late]
    live: list[tuple[str, float, float]]
    load: tuple[float, float]
    """Processes that wanted a processor, on average, before and after."""


class TimerBench:
    """A timer stage with its worker."""

    def __init__(self, stage: TimerStage, client: redis.asyncio.Redis) -> None:
        self._stage, self._client, self._seeded_per_s = stage, client, float(SLOWEST_PER_S)

    async def set(self, count: int) -> Setting:
        """Set timers of profiles that nobody will hear of again, for some day of the next year."""
        rng, now_ms = random.Random(5), _now_ms()
        due: dict[TopicPartition, dict[str, int | None]] = defaultdict(dict)
        for number in range(count):
            name = f"{rng.getrandbits(128):032x}"
            place = self._stage.topic_partitions[partition_of(name.encode(), PARTITIONS)]
            due[place][name] = now_ms + 86_400_000 + number * 30_000
        before, started = await self._memory(), time.perf_counter()
        for place, timers in due.items():
            names = list(timers)
            for start in range(0, count, SLICE):
                await self._save(place, {name: timers[name] for name in names[start : start + SLICE]})
        seconds = time.perf_counter() - started
        return Setting(count, count / seconds, (await self._memory() - before) / count)

    async def floor(self, count: int) -> float:
        """Return the evaluations per second when all touches are on the log at once, so that no timer is needed for them."""
        due_ms = self._start_ms(count)
        names = await self._inside([due_ms] * count)
        cleared: dict[TopicPartition, dict[str, int | None]] = defaultdict(dict)
        for name in names:
            cleared[self._stage.topic_partitions[partition_of(name.encode(), PARTITIONS)]][name] = None
        for place, timers in cleared.items():
            await self._save(place, timers)
        before = await self._stage.poll_transitions()
        await asyncio.sleep(max(0, due_ms - _now_ms()) / 1_000 + 1)
        touches = [Touched(profile_id=name, node=name, cause="timer", at_ms=due_ms) for name in names]
        started_ms = _now_ms()
        for start in range(0, count, SLICE):
            await self._stage.producer.send([touch_record(self._stage.settings, said) for said in touches[start : start + SLICE]])
        await self._stage.wait_until_exited(before + count)
        found = count * 1_000 / (max(left.published_ms for left in self._stage.exits[before:]) - started_ms)
        self._seeded_per_s = max(self._seeded_per_s, found / 2)
        return found

    async def late(self, load: str, count: int, per_s: float | None) -> tuple[Late, list[float]]:
        """Measure how late timers fire, and how long live events take meanwhile.

        The timers become due at a rate of `per_s`, or all at one instant if it is None.
        """
        first_ms = self._start_ms(count)
        await self._inside([first_ms + (round(number * 1_000 / per_s) if per_s else 0) for number in range(count)])
        before = await self._stage.poll_transitions()
        await asyncio.sleep(max(0, first_ms - _now_ms()) / 1_000)
        asked, started = await self._asked(), time.perf_counter()
        told = asyncio.create_task(self._live())
        await self._stage.wait_until_exited(before + count)
        asked_per_s = (await self._asked() - asked) / (time.perf_counter() - started)
        told.cancel()
        live = await self._live_took((await asyncio.gather(told, return_exceptions=True))[0])
        exits = self._stage.exits[before:]
        lateness = [float(left.published_ms - left.at_ms) for left in exits]
        seconds = (max(left.published_ms for left in exits) - first_ms) / 1_000
        found = Late(load, count, statistics.median(lateness), _p99(lateness), max(lateness), asked_per_s, seconds)
        return found, live

    async def quiet(self, seconds: float) -> list[float]:
        """Measure how long live events take while no timer is due."""
        told = asyncio.create_task(self._live())
        await asyncio.sleep(seconds)
        told.cancel()
        return await self._live_took((await asyncio.gather(told, return_exceptions=True))[0])

    async def _live(self) -> dict[str, int]:
        """Send events of new people, one after the other, until cancelled; return when each was sent."""
        said: dict[str, int] = {}
        try:
            while True:
                now_ms = _now_ms()
                (name,) = await self._stage.send_calls([now_ms + 3_600_000])
                said[name] = now_ms
                await asyncio.sleep(LIVE_EVERY_S)
        except asyncio.CancelledError:
            return said

    async def _live_took(self, said: dict[str, int] | BaseException) -> list[float]:
        assert isinstance(said, dict), said
        await self._entered(said, _now_ms() + 60_000)
        return [float(self._stage.entered[name] - at_ms) for name, at_ms in said.items()]

    def _start_ms(self, count: int) -> int:
        return _now_ms() + 10_000 + round(count * 1_000 / self._seeded_per_s)

    async def _inside(self, due_ms: Sequence[int]) -> list[str]:
        """Bring people into the segment who will leave it at these instants, and return their profile ids."""
        names = await self._stage.send_calls(list(due_ms))
        await self._entered(names, min(due_ms))
        return names

    async def _entered(self, names: Iterable[str], until_ms: int) -> None:
        """Wait until these are in the segment; it must be so by then."""
        missing = set(names)

        async def look() -> bool:
            await self._stage.poll_transitions()
            missing.difference_update(self._stage.entered)
            assert _now_ms() < until_ms, f"{len(missing)} people were not in the segment in time: the machine is too slow"
            return not missing

        await self._stage.wait_until(look, 600)

    async def _save(self, place: TopicPartition, timers: dict[str, int | None]) -> None:
        """Save timers beside the running agent without moving its position."""
        while True:
            position = (await self._stage.store.checkpoint(place)).position
            try:
                await self._stage.store.save(place, position, position or 0, Writes(timers=timers))
            except StateLost:  # the agent was faster
                continue
            return

    async def _memory(self) -> int:
        return int((await self._client.info("memory"))["used_memory"])

    async def _asked(self) -> int:
        return int((await self._client.info("commandstats")).get("cmdstat_zrange", {"calls": 0})["calls"])


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _p99(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=100)[98]


@contextmanager
def _services(folder: Path) -> Iterator[tuple[str, str]]:
    (kafka, bootstrap), (server, url) = kafka_spec(folder / "kafka"), redis_spec(folder / "redis")
    with running_service(kafka), running_service(server):
        yield bootstrap, url


def measure_timers(scale: float = 1.0) -> TimerFigures:
    """Run the whole benchmark of timers once."""
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as directory, _services(Path(directory)) as (bootstrap, url):
        found = asyncio.run(_measure(bootstrap, url, Path(directory), scale))
    return replace(found, load=(before, os.getloadavg()[0]))


async def _measure(bootstrap: str, url: str, folder: Path, scale: float) -> TimerFigures:
    client = redis.asyncio.from_url(url)
    async with timer_stage(bootstrap, url, f"b{uuid.uuid4().hex[:8]}", folder, PARTITIONS) as stage:
        bench = TimerBench(stage, client)
        setting = await bench.set(int(1_000_000 * scale))
        stage.worker()
        await bench.quiet(1)  # until the worker is at work
        floor = await bench.floor(int(10_000 * scale))
        lates, live = [], [("nothing", await bench.quiet(20 * scale))]
        for rate, seconds in ((200, STEADY_S * scale), (1_000, STEADY_S * scale)):
            late, took = await bench.late(f"{rate:,} a second", int(rate * seconds), rate)
            lates.append(late)
            live.append((f"{rate:,} timers a second", took))
        burst = int(100_000 * scale)
        late, took = await bench.late(f"{burst:,} at one instant", burst, None)
        lates.append(late)
        live.append((f"{burst:,} timers at one instant", took))
    await client.aclose()
    took_ms = [(name, statistics.median(took), _p99(took)) for name, took in live]
    return TimerFigures(setting, floor, lates, took_ms, load=(0.0, 0.0))


def render_timers(figures: TimerFigures) -> str:
    """Return the performance page's section about timers."""
    setting, burst = figures.setting, figures.lates[-1]
    rows = "\n".join(
        f"| {late.load} | {late.count:,} | {late.p50_ms:,.0f} | {late.p99_ms:,.0f} | {late.most_ms:,.0f} | {late.asked_per_s:,.0f} |"
        for late in figures.lates
    )
    live = "\n".join(f"| {name} | {p50:,.0f} | {p99:,.0f} |" for name, p50, p99 in figures.live)
    return f"""## Timers

{setting.count:,} timers are set in Redis all the time ({PARTITIONS} partitions; {setting.per_s:,.0f} a second in slices of {SLICE:,},
{setting.bytes_each:,.0f} bytes each) while others become due: their people leave a segment because its window of an hour has passed. One
stream process (unify and segment agents); client, broker and Redis share its machine, whose load was {figures.load[0]:.1f} before and
{figures.load[1]:.1f} after: on a busy machine most of the lateness is waiting for a processor.

*Late*: from a timer's instant until its transition is handed to the broker (aim: p99 below a second at a steady rate that the agent
keeps up with). *Asked*: commands a second with which Redis was asked for timers, of all partitions together.

| Due | Timers | p50, ms | p99, ms | Most, ms | Asked/s |
| --- | --- | --- | --- | --- | --- |
{rows}

Those of one instant were evaluated within {burst.seconds:.1f} s, the earliest first: **{burst.count / burst.seconds:,.0f}** a second. *Floor*: as
many touches as the segment agent evaluates a second when all are there at once and no timer is needed: {figures.floor:,.0f}.

Live events meanwhile, one every {LIVE_EVERY_S * 1_000:.0f} ms, each of a person who enters the segment by it: from the event to its transition.

| Due meanwhile | p50, ms | p99, ms |
| --- | --- | --- |
{live}
"""


def main() -> None:
    """Print the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0)
    print(render_timers(measure_timers(parser.parse_args().scale)))


if __name__ == "__main__":
    main()
