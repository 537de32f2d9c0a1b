"""Measures the link agent: new links per second over a real Redis, beside plain pipelined SETs, and how many events need it.

`python -m tests.bench.links` prints its part of the page; `--profile` prints where the step's time goes.
"""

import argparse
import asyncio
import cProfile
import pstats
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date
from itertools import islice
from pathlib import Path

import redis.asyncio
from pydantic import SecretStr

from demo.simulation import Action, DemoCall, Simulation
from domain.intake.parse import parse_call
from domain.profiles.fragment import Fragment, apply_event
from domain.segments.plan import SegmentPlan
from profile_store.port import TopicPartition
from profile_store.redis_store import RedisStore
from runtime.bus.kafka import KafkaBus
from runtime.bus.port import Outgoing, Record
from runtime.clock import SystemClock
from runtime.settings import Settings
from schemas.codec import encode
from schemas.events import Event
from schemas.identifiers import Identifier, node
from schemas.records import Link
from streams.steps.link import LinkStep
from tests.support.services import redis_spec, running_service

SECRET = b"bench"
START_MS = 1_750_000_000_000
PLACE = TopicPartition("links", 0, 1)


@dataclass(frozen=True, slots=True)
class Load:
    """Links for the agent, `slice` at a time; the links in `before` are processed first, outside the measured time."""

    name: str
    links: Sequence[Link]
    slice: int
    before: Sequence[Link] = ()


@dataclass(frozen=True, slots=True)
class Speed:
    """Medians over the rounds, per second, and the median of the rounds' ratios."""

    load: str
    count: int
    slice: int
    floor: float
    links: float
    ratio: float


@dataclass(frozen=True, slots=True)
class Share:
    """How many of the demo's events send links to the link agent."""

    events: int
    needing: int
    links: int


@dataclass(frozen=True, slots=True)
class LinkFigures:
    """The figures of the link agent's benchmark."""

    speeds: list[Speed]
    share: Share
    stack: float = 0.0
    """Links per second through the broker and the stream process; 0 when no stack was asked."""


def link(left: Identifier, right: Identifier, number: int) -> Link:
    """Return a link of two identifiers that no earlier record has named."""
    a, b = sorted((node(SECRET, left), node(SECRET, right)))
    said, at = f"m{number}", START_MS + number
    return Link(a=a, b=b, first_ms=at, first_event=said, last_ms=at, last_event=said, source="bench", owner=a)


def customers(count: int, prefix: str) -> list[Link]:
    """Return the links of `count` customers.

    Each customer logs in with a cookie, then gives an e-mail and a phone number. One in seven comes with a second cookie, and one in
    fifty of those cookies belongs to somebody else.
    """
    rng, said = random.Random(7), []
    for person in range(count):
        user = ("user_id", f"{prefix}-u{person}")
        said += [(user, ("anonymous_id", f"{prefix}-c{person}"))]
        said += [(user, ("email", f"{prefix}-{person}@thu.vn")), (user, ("phone", f"{prefix}-{person}"))]
        if rng.random() < 1 / 7:
            cookie = f"{prefix}-c{rng.randrange(person + 1)}" if rng.random() < 1 / 50 else f"{prefix}-d{person}"
            said.append((user, ("anonymous_id", cookie)))
    return [link(left, right, number) for number, (left, right) in enumerate(said)]


def hub(count: int, prefix: str) -> list[Link]:
    """Return links that give all users the same e-mail."""
    return [link(("user_id", f"{prefix}-u{n}"), ("email", f"{prefix}@thu.vn"), n) for n in range(count)]


def loads(scale: float, prefix: str) -> Iterator[Load]:
    """Yield the same loads in each round; `prefix` gives their identifiers names that no other round uses."""
    yield Load("customers", customers(int(6_000 * scale), prefix), 500)
    yield Load("customers, small slices", customers(int(1_000 * scale), f"{prefix}s"), 10)
    yield Load("one e-mail on ever more users", hub(int(20_000 * scale), f"{prefix}h"), 500)
    known = int(9_000 * scale)
    shared = hub(known + int(500 * scale), f"{prefix}k")
    yield Load(f"one e-mail on {known:,} users already, small slices", shared[known:], 10, shared[:known])


@contextmanager
def redis_settings() -> Iterator[Settings]:
    """Start a Redis server for this benchmark alone and yield settings that point to it."""
    with tempfile.TemporaryDirectory() as directory:
        spec, url = redis_spec(Path(directory))
        with running_service(spec):
            yield Settings(redis_url=SecretStr(url))


async def agent(settings: Settings, load: Load) -> float:
    """Return the links per second of the link step's run and save, one slice after the other."""
    store = RedisStore(settings, SystemClock())
    step = LinkStep(settings, store)
    topic = settings.topic("links")
    records = [Record(topic, 0, n, START_MS, None, encode(said)) for n, said in enumerate((*load.before, *load.links))]

    async def tell(first: int, last: int, slice_: int) -> None:
        for start in range(first, last, slice_):
            chunk = records[start : min(start + slice_, last)]
            outcome = await step.run(PLACE, chunk, START_MS)
            await store.save(PLACE, outcome.expected, chunk[-1].offset + 1, outcome.writes)

    try:
        await tell(0, len(load.before), 500)
        started = time.perf_counter()
        await tell(len(load.before), len(records), load.slice)
        return len(load.links) / (time.perf_counter() - started)
    finally:
        await store.aclose()


async def floor(settings: Settings, load: Load) -> float:
    """Return the writes per second of as many plain SETs of the same bytes, with one pipeline for each slice."""
    client = redis.asyncio.from_url(settings.redis_url.get_secret_value())
    values = [(f"{said.a}{said.b}", encode(said)) for said in load.links]
    try:
        started = time.perf_counter()
        for start in range(0, len(values), load.slice):
            pipeline = client.pipeline(transaction=False)
            for key, value in values[start : start + load.slice]:
                pipeline.set(key, value)
            await pipeline.execute()
        return len(values) / (time.perf_counter() - started)
    finally:
        await client.aclose()


def measure_links(rounds: int = 3, scale: float = 1.0, stack: Settings | None = None) -> LinkFigures:
    """Measure the floor and the agent in turn, and a running stack if its settings are given as `stack`."""
    seen: dict[str, list[tuple[float, float]]] = {}
    shapes: dict[str, Load] = {}
    with redis_settings() as settings:
        for number in range(rounds):
            for load in loads(scale, f"r{number}"):
                apart = settings.model_copy(update={"environment": f"links{number}{len(shapes)}{load.slice}"})
                shapes.setdefault(load.name, load)
                pair = asyncio.run(floor(settings, load)), asyncio.run(agent(apart, load))
                seen.setdefault(load.name, []).append(pair)
    speeds = [
        Speed(
            load=name,
            count=len(shapes[name].links),
            slice=shapes[name].slice,
            floor=statistics.median(pair[0] for pair in pairs),
            links=statistics.median(pair[1] for pair in pairs),
            ratio=statistics.median(pair[1] / pair[0] for pair in pairs),
        )
        for name, pairs in seen.items()
    ]
    reached = [asyncio.run(through(stack)) for _ in range(rounds)] if stack else [0.0]
    return LinkFigures(speeds, share(), statistics.median(reached))


async def through(settings: Settings, count: int = 5_000) -> float:
    """Return the links per second of a running stack, from the first record sent until the agent's position reaches the last."""
    links = customers(count, f"t{time.monotonic_ns()}")
    topic = settings.topic(PLACE.topic)
    store = RedisStore(settings, SystemClock())
    try:
        async with KafkaBus(settings) as bus:
            producer = await bus.producer()
            try:
                started = time.perf_counter()
                written = await producer.send([Outgoing(topic, encode(said)) for said in links])
                end = max(offset for _, offset in written)
                while ((await store.checkpoint(PLACE)).position or 0) <= end:  # noqa: ASYNC110 - the store tells nobody when a position moves
                    await asyncio.sleep(0.01)
                return len(links) / (time.perf_counter() - started)
            finally:
                await producer.aclose()
    finally:
        await store.aclose()


def share(count: int = 20_000) -> Share:
    """Count, among the first `count` actions of the demo's simulation, the events whose fragment has not seen their links that day."""
    fragments: dict[str, Fragment] = {}
    events = needing = links = 0
    for action in islice(Simulation(1, "bench", date(2026, 11, 22)).actions(), count):
        event = event_of(action)
        if event is None:
            continue
        said = apply_event(fragments.setdefault(event.owner, Fragment()), event, SegmentPlan()).changed_links
        events, needing, links = events + 1, needing + bool(said), links + len(said)
    return Share(events, needing, links)


def event_of(action: Action, received_ms: int = START_MS) -> Event | None:
    """Return the event of a simulated call in Segment's format, or None for a call that was garbled on purpose."""
    said = asdict(action) if isinstance(action, DemoCall) else action.body
    if said is None:
        return None
    words = {"kind": "type", "name": "event", "message_id": "messageId", "anonymous_id": "anonymousId", "user_id": "userId"}
    call = {words.get(name, name): value for name, value in said.items() if value}
    event = parse_call(
        call,
        call_type=None,
        source="web",
        trust="trusted",
        received_ms=received_ms,
        sent_ms=None,
        secret=SECRET,
        country="VN",
        default_id=str(len(call)),
    )
    assert isinstance(event, Event)
    return event


def render_links(figures: LinkFigures) -> str:
    """Return the performance page's section about identity."""
    rows = "\n".join(
        f"| {s.load} | {s.count:,} | {s.slice:,} | {s.floor:,.0f} | {s.links:,.0f} | {s.ratio:.3f} |" for s in figures.speeds
    )
    found = figures.share
    stack = (
        f"""
Through the broker and the stream process of a running stack, the other agents at work on what it says: {figures.stack:,.0f} links/s.
"""
        if figures.stack
        else ""
    )
    return f"""## Identity

Links that the link agent had not seen before, a second: its step and its save over a real Redis, one slice after the other in one
process. *Floor*: as many plain SETs of the same bytes, a pipeline for each slice. In turn, in one run; medians.

| Load | Links | Links a slice | Floor, SETs/s | Links/s | Ratio |
| --- | --- | --- | --- | --- | --- |
{rows}
{stack}
Of {found.events:,} events of the demo's customers, {found.needing:,} (**{found.needing / found.events:.1%}**) had something to say to the link
agent: {found.links:,} links. The others met only pairs that their fragment knows of that day.
"""


def main() -> None:
    """Print the section, or a profile of the agent on each load."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    if not options.profile:
        print(render_links(measure_links(options.rounds, options.scale)))
        return
    with redis_settings() as settings:
        for number, load in enumerate(loads(options.scale, "p")):
            apart = settings.model_copy(update={"environment": f"profile{number}"})
            profile = cProfile.Profile()
            speed = profile.runcall(asyncio.run, agent(apart, load))
            print(f"{load.name}: {speed:,.0f} links/s under the profiler")
            pstats.Stats(profile, stream=sys.stdout).sort_stats("tottime").print_stats(25)


if __name__ == "__main__":
    main()
