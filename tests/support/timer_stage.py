"""Stream workers on a real broker and a real Redis, and people who leave a segment because time passes."""

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from ops import definitions_topic as definitions
from profile_store.connect import open_store
from profile_store.port import Place, ProfileStore
from runtime.bus.kafka import KafkaBus
from runtime.bus.port import Consumer, Outgoing, Partition, Producer, Record
from runtime.clock import SystemClock
from runtime.errors import Transient
from runtime.settings import Settings
from schemas.codec import decode, encode
from schemas.records import Transition
from schemas.topics import TOPICS
from domain.definitions.kinds import Segment, load_yaml
from domain.segments.plan import Plan
from streams.step import Step
from streams.steps.segment import SegmentStep
from streams.steps.unify import UnifyStep
from tests.support.fault_stage import Worker
from tests.support.events import event

WITHIN_MS: Final = 3_600_000
DEFINITION: Final = """
apiVersion: onefold/v1
kind: Segment
metadata: {name: called-lately}
spec: {where: {did: {event: call_ended, within: 1h}}}
"""


class StreamsWorker(Worker):
    """`python -m streams`, with the agents that evaluate."""

    def start(self) -> None:
        with self.log.open("ab") as out:
            argv = [sys.executable, "-m", "streams", "--agents", "unify,segment"]
            self.process = subprocess.Popen(argv, env={**os.environ, **self.variables}, stdout=out, stderr=out)


@dataclass(frozen=True, slots=True)
class Exit:
    """A person left the segment: for which instant, and when that was said."""

    profile_id: str
    at_ms: int
    seq: int
    said_ms: int


@dataclass
class Timed:
    """One environment on a broker and a Redis server. `entered` (when it was first said) and `exits` are those read so far."""

    settings: Settings
    bus: KafkaBus
    producer: Producer
    store: ProfileStore
    reader: Consumer
    variables: Mapping[str, str]
    folder: Path
    places: list[Place]
    exits: list[Exit] = field(default_factory=list)
    entered: dict[str, int] = field(default_factory=dict)
    workers: list[StreamsWorker] = field(default_factory=list)
    people: int = 0

    def worker(self, **variables: str) -> StreamsWorker:
        """A new worker, started, with a data directory of its own."""
        number = len(self.workers)
        own = {"ONEFOLD_DATA_DIR": str(self.folder / f"worker{number}")}
        worker = StreamsWorker({**self.variables, **own, **variables}, self.folder / f"worker{number}.log")
        self.workers.append(worker)
        worker.start()
        return worker

    async def called(self, due_ms: list[int]) -> list[str]:
        """Say of as many people that they called so that they leave the segment at these instants; their profile ids."""
        names = []
        for start in range(0, len(due_ms), 1_000):
            outgoing = []
            for due in due_ms[start : start + 1_000]:
                said = event({"user_id": f"u{self.people}"}, id=f"m{self.people}", name="call_ended", time_ms=due - WITHIN_MS)
                names.append(said.owner)
                outgoing.append(Outgoing(self.settings.topic("events"), encode(said), key=said.owner.encode()))
                self.people += 1
            await self.producer.send(outgoing)
        return names

    async def evaluated(self, now_ms: int) -> None:
        """What workers at `now_ms` would have made of all that was said, while none runs: the people are in, and timers are set."""
        plan = Plan(definition for definition in load_yaml(DEFINITION, "") if isinstance(definition, Segment))
        steps: list[Step] = [
            UnifyStep(self.settings, self.store, lambda: plan),
            SegmentStep(self.settings, self.store, lambda: plan),
        ]
        for step in steps:
            logs: defaultdict[int, list[Record]] = defaultdict(list)
            for record in await self._all(step.topic):
                logs[record.partition].append(record)
            for number, log in logs.items():
                place = Place(step.topic, number, len(self.places))
                for start in range(0, len(log), 1_000):
                    records = log[start : start + 1_000]
                    outcome = await step.run(place, records, now_ms)
                    await self.store.save(place, outcome.expected, records[-1].offset + 1, outcome.writes)
                    await self.producer.send(outcome.produce)
            await self._commit(step)

    async def _commit(self, step: Step) -> None:
        """Commit all of the step's topic for its agent."""
        topic = self.settings.topic(step.topic)
        ends = {Partition(topic, number): end for number, end in (await self.bus.end_offsets(topic)).items()}
        member = await self.bus.consumer(self.settings.group(step.name), [topic])
        try:
            while await self.bus.committed(self.settings.group(step.name), topic) != {p.number: end for p, end in ends.items()}:
                await member.poll(100, 1)
                await member.commit(ends)
        finally:
            await member.aclose()

    async def _all(self, name: str) -> list[Record]:
        topic, found = self.settings.topic(name), list[Record]()
        ends = await self.bus.end_offsets(topic)
        reader = await self.bus.reader([topic])
        try:
            while len(found) < sum(ends.values()):
                found += [record for records in (await reader.poll(1_000, 5_000)).values() for record in records]
        finally:
            await reader.aclose()
        return found

    async def look(self) -> int:
        """Read what was said meanwhile; how many exits there are."""
        while polled := await self.reader.poll(20, 10_000):
            for record in (record for records in polled.values() for record in records):
                said = decode(Transition, record.value)
                if said.op == "entered":
                    self.entered.setdefault(said.profile_id, record.timestamp_ms)
                else:
                    self.exits.append(Exit(said.profile_id, said.at_ms, said.seq, record.timestamp_ms))
        return len(self.exits)

    async def standing(self) -> int:
        """How many timers stand."""
        return sum([len(await self.store.due_timers(place, 1 << 50, 1_000_000)) for place in self.places])

    async def until(self, look: Callable[[], Awaitable[bool]], within_s: float = 120) -> None:
        """Wait for a condition, starting again what has ended; AssertionError with the workers' last words after the bound."""
        end = time.monotonic() + within_s
        while True:
            with contextlib.suppress(Transient):
                if await look():
                    return
            for worker in self.workers:
                worker.supervise()
            assert time.monotonic() < end, "\n".join(f"{w.codes}: {w.log.read_text()[-2000:]}" for w in self.workers)
            await asyncio.sleep(0.01)

    async def until_left(self, count: int) -> None:
        """Wait until so many exits were said."""

        async def look() -> bool:
            return await self.look() >= count

        await self.until(look)

    async def until_entered(self, count: int) -> None:
        """Wait until so many were said to be in."""

        async def look() -> bool:
            await self.look()
            return len(self.entered) >= count

        await self.until(look)

    async def until_none_stands(self) -> None:
        """Wait until no timer stands and everybody was said to have left: a worker says so after it has cleared the timer."""

        async def look() -> bool:
            cleared = await self.standing() == 0
            await self.look()
            return cleared and {exit_.profile_id for exit_ in self.exits} >= self.entered.keys()

        await self.until(look)


@contextlib.asynccontextmanager
async def timed(bootstrap: str, redis_url: str, environment: str, folder: Path, partitions: int = 2) -> AsyncIterator[Timed]:
    """A stage with its topics and its segment; its workers end with it."""
    variables = {
        "ONEFOLD_KAFKA_BOOTSTRAP": bootstrap,
        "ONEFOLD_REDIS_URL": redis_url,
        "ONEFOLD_ENVIRONMENT": environment,
        "ONEFOLD_SESSION_TIMEOUT_MS": "6000",
        "ONEFOLD_METRICS_PORT": "0",
    }
    settings = Settings(kafka_bootstrap=bootstrap, redis_url=SecretStr(redis_url), environment=environment, data_dir=folder)
    store = open_store(settings, SystemClock())
    async with KafkaBus(settings) as bus, contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(store.aclose)
        await bus.create_topics(
            {settings.topic(topic.name): (1 if topic.single else partitions, dict(topic.config)) for topic in TOPICS}
        )
        await definitions.write(settings, bus, load_yaml(DEFINITION, "segments.yaml"))
        producer = await bus.producer()
        stack.push_async_callback(producer.aclose)
        reader = await bus.reader([settings.topic("memberships")])
        stack.push_async_callback(reader.aclose)
        places = [Place("touched", number, partitions) for number in range(partitions)]
        stage = Timed(settings, bus, producer, store, reader, variables, folder, places)
        try:
            yield stage
        finally:
            for worker in stage.workers:
                if worker.process is not None:
                    worker.kill()
