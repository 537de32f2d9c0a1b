"""Measure what segments cost per event, at 10, 100 and 1,000 segments of which each event touches ten.

The cost is the CPU time of the unify step and the segment step over a store in memory.
`python -m tests.bench.segments` prints the table; `--profile` prints where the time goes.
"""

import argparse
import asyncio
import cProfile
import os
import pstats
import random
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import islice
from typing import Any, Final

from demo.simulation import DemoCall, Simulation
from domain.definitions.kinds import AnyDefinition, parse_definition
from domain.definitions.segment_plan import segment_plan_of
from domain.segments.plan import SegmentPlan
from profile_store.memory import MemoryStore
from profile_store.port import TopicPartition
from runtime.bus.port import Record
from runtime.clock import ManualClock
from runtime.settings import Settings
from schemas.codec import encode
from schemas.events import Event
from streams.step import Step
from streams.steps.link import LinkStep
from streams.steps.segment import SegmentStep
from streams.steps.unify import UnifyStep
from tests.bench.links import START_MS, event_of

COUNTS: Final = (0, 10, 100, 1_000)
TOUCHED: Final = 10
NAMES: Final = ("$page", "Product Viewed", "Product Added", "Order Completed", "$identify")
SLICE: Final = 50
EVERY_MS: Final = 25


@dataclass(frozen=True, slots=True)
class Cost:
    """Medians over the rounds: CPU microseconds per event of each agent's step, and the milliseconds to compile the plan."""

    segments: int
    registers: int
    unify_us: float
    segment_us: float
    compile_ms: float

    @property
    def total_us(self) -> float:
        """Return the microseconds of both steps together."""
        return self.unify_us + self.segment_us


@dataclass(frozen=True, slots=True)
class CostFigures:
    """Costs by number of segments; the first entry is the cost without any segment.

    `evaluations` counts the evaluations of one run; `load` is the machine's load before and after the benchmark.
    """

    costs: Sequence[Cost]
    events: int
    evaluations: int
    load: tuple[float, float]


def leaf(name: str, n: int, second: str = "Order Completed") -> dict[str, Any]:
    """Return a leaf of one of the kinds that read events, chosen by `n`; `second` is the event that follows in a sequence."""
    dear = [{"prop": "price", "op": "gte", "value": 1_000_000}]
    undecided = {"first": {"event": name, "within": "1d"}, "then_not": {"event": second, "within": f"{10 + n}m"}}
    return (
        {"did": {"event": name, "at_least": 3 + n, "within": "1h"}},
        {"aggregate": {"event": name, "of": "sum", "prop": "price", "value": 10_000_000 + n, "within": "1d"}},
        {"sequence": undecided},
        {"last": {"event": name, "not_within": f"{1 + n}h"}},
        {"regularly": {"event": name, "every": "1d", "at_least": 2, "of": 7}},
        {"did": {"event": name, "at_least": 2 + n, "within": "7d", "where": dear}},
    )[n % 6]


def touched(n: int) -> dict[str, Any]:
    """Return the condition of a segment with five leaves, at least one of which reads each event that arrives."""
    leaves = [leaf(name, n + place) for place, name in enumerate(NAMES[:3])]
    order = {"rfm": {"frequency": [4, 5]}} if n % 2 else leaf("Order Completed", n)
    return {"any": [*leaves, order, {"trait": {"path": "address.city", "value": f"Thành phố {n}"}}]}


def idle(n: int) -> dict[str, Any]:
    """Return the condition of a segment that reads none of the events that arrive."""
    return {"all": [leaf(f"Idle {n}", n, second=f"Idle {n}"), {"trait": {"path": f"idle_{n}", "op": "exists"}}]}


def definitions(count: int) -> list[AnyDefinition]:
    """Return `count` segments, of which each event touches the first ten."""
    return [
        parse_definition(
            {
                "apiVersion": "onefold/v1",
                "kind": "Segment",
                "metadata": {"name": f"s{n}"},
                "spec": {"where": touched(n) if n < TOUCHED else idle(n)},
            },
            "bench",
        )
        for n in range(count)
    ]


def demo_events(count: int) -> list[Event]:
    """Return what the demo's customers do at the shop, with one event every 25 ms."""
    actions = Simulation(1, "bench", date(2026, 11, 22)).actions()
    calls = (action for action in actions if isinstance(action, DemoCall))
    made = (event_of(call, START_MS + n * EVERY_MS) for n, call in enumerate(islice(calls, count)))
    return [event for event in made if event is not None]


class Agents:
    """The three agents with one partition each, run one slice at a time; `spent` counts the CPU seconds of each step."""

    def __init__(self, plan: SegmentPlan) -> None:
        settings, self.clock = Settings(), ManualClock()
        self._store = MemoryStore(self.clock)
        self._steps: dict[str, Step] = {
            "events": UnifyStep(settings, self._store, lambda: plan),
            "links": LinkStep(settings, self._store),
            "touched": SegmentStep(settings, self._store, lambda: plan),
        }
        self._next: dict[str, int] = defaultdict(int)
        self.spent: dict[str, float] = defaultdict(float)
        self.evaluated = 0

    async def take(self, events: Sequence[Event]) -> None:
        """Process a slice of events, then the links and the touches that result from it."""
        now_ms = events[-1].received_ms
        values = {"events": [encode(event) for event in events]}
        for topic in ("events", "links", "touched"):
            for said, value in await self._turn(topic, values.get(topic, []), now_ms):
                values.setdefault(said, []).append(value)

    async def _turn(self, topic: str, values: Sequence[bytes], now_ms: int) -> list[tuple[str, bytes]]:
        if not values:
            return []
        start = self._next[topic]
        self._next[topic] = start + len(values)
        records = [Record(topic, 0, start + n, now_ms, None, value) for n, value in enumerate(values)]
        place = TopicPartition(topic, 0, 1)
        started = time.process_time()
        outcome = await self._steps[topic].run(place, records, now_ms)
        await self._store.save(place, outcome.expected, self._next[topic], outcome.writes)
        self.spent[topic] += time.process_time() - started
        self.evaluated += outcome.results["evaluated"]
        return [(one.topic.partition(".")[2], one.value or b"") for one in outcome.produce]


async def run(plan: SegmentPlan, events: Sequence[Event]) -> Agents:
    """Process all events with new agents, and return the agents."""
    agents = Agents(plan)
    for start in range(0, len(events), SLICE):
        await agents.take(events[start : start + SLICE])
    return agents


def measure_costs(rounds: int = 5, count: int = 10_000) -> CostFigures:
    """Measure each number of segments in this process, in another order each round."""
    before, events, rng = os.getloadavg()[0], demo_events(count), random.Random(1)
    plans: dict[int, SegmentPlan] = {}
    compile_ms: dict[int, list[float]] = defaultdict(list)
    seen: dict[int, list[Agents]] = defaultdict(list)
    for _ in range(rounds):
        for number in rng.sample(COUNTS, len(COUNTS)):
            made = definitions(number)
            started = time.process_time()
            plans[number] = segment_plan_of(made)
            compile_ms[number].append((time.process_time() - started) * 1e3)
            seen[number].append(asyncio.run(run(plans[number], events)))
    costs = [
        Cost(
            segments=number,
            registers=len(plans[number].registers),
            unify_us=statistics.median(agents.spent["events"] for agents in seen[number]) * 1e6 / len(events),
            segment_us=statistics.median(agents.spent["touched"] for agents in seen[number]) * 1e6 / len(events),
            compile_ms=statistics.median(compile_ms[number]),
        )
        for number in COUNTS
    ]
    return CostFigures(costs, len(events), seen[0][0].evaluated, (before, os.getloadavg()[0]))


def render_costs(figures: CostFigures) -> str:
    """Return the table of costs and the text that explains it."""
    rows = "\n".join(
        f"| {cost.segments:,} | {cost.registers:,} | {cost.unify_us:.0f} | {cost.segment_us:.0f} | {cost.total_us:.0f} "
        f"| {cost.total_us / figures.costs[0].total_us:.2f} | {cost.compile_ms:,.0f} |"
        for cost in figures.costs
    )
    return f"""CPU of the unify agent's and the segment agent's steps over a store in memory (decoding, joins, evaluation, encoding; no broker, no
Redis), microseconds an event: {figures.events:,} events of the demo's customers in slices of {SLICE}, {figures.evaluations:,} evaluations. Ten segments, of five
leaves each (`did`, `aggregate`, `sequence`, `last`, `regularly`, `rfm`, `trait`), are touched by every event; the others look at
events and traits that do not come. *Floor*: no segments, only the two computed traits that are always there. In turn, in one process;
medians. The machine's load was {figures.load[0]:.1f} before and {figures.load[1]:.1f} after.

| Segments | Registers | Unify, us | Segment, us | Together, us | Of the floor | Making the plan, ms |
| --- | --- | --- | --- | --- | --- | --- |
{rows}
"""


def main() -> None:
    """Print the table, or a profile."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--profile", type=int, metavar="SEGMENTS", help="profile a run with so many segments")
    options = parser.parse_args()
    if options.profile is None:
        print(render_costs(measure_costs(options.rounds, options.events)))
        return
    plan, events = segment_plan_of(definitions(options.profile)), demo_events(options.events)
    profile = cProfile.Profile()
    profile.runcall(asyncio.run, run(plan, events))
    for order in ("tottime", "cumulative"):
        pstats.Stats(profile, stream=sys.stdout).sort_stats(order).print_stats(45)


if __name__ == "__main__":
    main()
