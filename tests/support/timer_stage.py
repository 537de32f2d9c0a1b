"""Stream workers on a real broker and a real Redis, and people who leave a segment because time passes."""

import contextlib
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from domain.definitions.kinds import Segment, load_yaml
from domain.definitions.segment_plan import segment_plan_of
from ops import definitions_topic
from ops.adopted_logs import record_log
from profile_store.connect import open_store
from profile_store.port import ProfileStore, TopicPartition
from runtime.bus.kafka import KafkaBus
from runtime.bus.port import Consumer, Outgoing, Partition, Producer, Record
from runtime.clock import SystemClock
from runtime.errors import Transient
from runtime.settings import Settings
from schemas.codec import decode, encode
from schemas.records import Transition
from schemas.topics import TOPICS
from streams.step import Step
from streams.steps.segment import SegmentStep
from streams.steps.unify import UnifyStep
from tests.support.events import event
from tests.support.fault_stage import SupervisedWorker
from tests.support.polling import eventually_async

WITHIN_MS: Final = 3_600_000
DEFINITION: Final = """
apiVersion: onefold/v1
kind: Segment
metadata: {name: called-lately}
spec: {where: {did: {event: call_ended, within: 1h}}}
"""


class StreamsWorker(SupervisedWorker):
    """`python -m streams`, with the agents that evaluate."""

    def start(self) -> None:
        with self.log.open("ab") as out:
            argv = [sys.executable, "-m", "streams", "--agents", "unify,segment"]
            self.process = subprocess.Popen(argv, env={**os.environ, **self.variables}, stdout=out, stderr=out)


@dataclass(frozen=True, slots=True)
class SegmentExit:
    """A transition in which a person left the segment: the instant of the exit, and when it was published."""

    profile_id: str
    at_ms: int
    seq: int
    published_ms: int


@dataclass
class TimerStage:
    """One environment on a broker and a Redis server.

    `entered` (with the time of first publication) and `exits` are the transitions read so far.
    """

    settings: Settings
    bus: KafkaBus
    producer: Producer
    store: ProfileStore
    reader: Consumer
    variables: Mapping[str, str]
    folder: Path
    topic_partitions: list[TopicPartition]
    exits: list[SegmentExit] = field(default_factory=list)
    entered: dict[str, int] = field(default_factory=dict)
    workers: list[StreamsWorker] = field(default_factory=list)
    people: int = 0

    def worker(self, **variables: str) -> StreamsWorker:
        """Start a new worker, with a data directory of its own."""
        number = len(self.workers)
        own_variables = {"ONEFOLD_DATA_DIR": str(self.folder / f"worker{number}")}
        worker = StreamsWorker({**self.variables, **own_variables, **variables}, self.folder / f"worker{number}.log")
        self.workers.append(worker)
        worker.start()
        return worker

    async def send_calls(self, due_ms: list[int]) -> list[str]:
        """Send one call for each instant, of a new person who leaves the segment then; return their profile ids."""
        names = []
        for start in range(0, len(due_ms), 1_000):
            outgoing = []
            for due in due_ms[start : start + 1_000]:
                call_event = event({"user_id": f"u{self.people}"}, id=f"m{self.people}", name="call_ended", time_ms=due - WITHIN_MS)
                names.append(call_event.owner)
                outgoing.append(Outgoing(self.settings.topic("events"), encode(call_event), key=call_event.owner.encode()))
                self.people += 1
            await self.producer.send(outgoing)
        return names

    async def evaluate_backlog(self, now_ms: int) -> None:
        """Process the calls in place of a worker, with `now_ms` as the time, so that the people enter and their timers are set."""
        plan = segment_plan_of(definition for definition in load_yaml(DEFINITION, "") if isinstance(definition, Segment))
        steps: list[Step] = [
            UnifyStep(self.settings, self.store, lambda: plan),
            SegmentStep(self.settings, self.store, lambda: plan),
        ]
        for step in steps:
            logs: defaultdict[int, list[Record]] = defaultdict(list)
            for record in await self._read_all(step.topic):
                logs[record.partition].append(record)
            for number, log in logs.items():
                topic_partition = TopicPartition(step.topic, number, len(self.topic_partitions))
                for start in range(0, len(log), 1_000):
                    records = log[start : start + 1_000]
                    outcome = await step.run(topic_partition, records, now_ms)
                    await self.store.save(topic_partition, outcome.expected, records[-1].offset + 1, outcome.writes)
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

    async def _read_all(self, name: str) -> list[Record]:
        topic, collected = self.settings.topic(name), list[Record]()
        ends = await self.bus.end_offsets(topic)
        reader = await self.bus.reader([topic])
        try:
            while len(collected) < sum(ends.values()):
                collected += [record for records in (await reader.poll(1_000, 5_000)).values() for record in records]
        finally:
            await reader.aclose()
        return collected

    async def poll_transitions(self) -> int:
        """Read the transitions that were published since the last call; return how many exits there are in all."""
        while polled := await self.reader.poll(20, 10_000):
            for record in (record for records in polled.values() for record in records):
                transition = decode(Transition, record.value)
                if transition.op == "entered":
                    self.entered.setdefault(transition.profile_id, record.timestamp_ms)
                else:
                    self.exits.append(SegmentExit(transition.profile_id, transition.at_ms, transition.seq, record.timestamp_ms))
        return len(self.exits)

    async def count_timers(self) -> int:
        """Return how many timers are set."""
        return sum(
            [len(await self.store.due_timers(topic_partition, 1 << 50, 1_000_000)) for topic_partition in self.topic_partitions]
        )

    async def wait_until(self, condition: Callable[[], Awaitable[bool]], within_s: float = 120) -> None:
        """Wait for a condition, starting again what has ended; AssertionError with the workers' last words after the bound."""

        async def holds() -> bool:
            with contextlib.suppress(Transient):
                return await condition()
            return False

        def supervise() -> None:
            for worker in self.workers:
                worker.supervise()

        await eventually_async(
            holds,
            within_s=within_s,
            every_s=0.01,
            on_poll=supervise,
            explain=lambda: "\n".join(f"{worker.codes}: {worker.log.read_text()[-2000:]}" for worker in self.workers),
        )

    async def wait_until_exited(self, count: int) -> None:
        """Wait until that number of exits was published."""

        async def enough_exited() -> bool:
            return await self.poll_transitions() >= count

        await self.wait_until(enough_exited)

    async def wait_until_entered(self, count: int) -> None:
        """Wait until that number of entries was published."""

        async def enough_entered() -> bool:
            await self.poll_transitions()
            return len(self.entered) >= count

        await self.wait_until(enough_entered)

    async def wait_until_no_timers(self) -> None:
        """Wait until no timer is set and everybody has left; a worker publishes an exit after it has cleared the timer."""

        async def all_exited() -> bool:
            cleared = await self.count_timers() == 0
            await self.poll_transitions()
            return cleared and {exit_.profile_id for exit_ in self.exits} >= self.entered.keys()

        await self.wait_until(all_exited)


@contextlib.asynccontextmanager
async def timer_stage(
    bootstrap: str, redis_url: str, environment: str, folder: Path, partitions: int = 2
) -> AsyncIterator[TimerStage]:
    """Make a stage with its topics and its segment, and kill its workers at the end of the block."""
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
            {settings.topic(topic.name): (1 if topic.is_single_partition else partitions, dict(topic.config)) for topic in TOPICS}
        )
        await record_log(settings, bus, (store,))
        await definitions_topic.write(settings, bus, load_yaml(DEFINITION, "segments.yaml"))
        producer = await bus.producer()
        stack.push_async_callback(producer.aclose)
        reader = await bus.reader([settings.topic("memberships")])
        stack.push_async_callback(reader.aclose)
        topic_partitions = [TopicPartition("touched", number, partitions) for number in range(partitions)]
        stage = TimerStage(settings, bus, producer, store, reader, variables, folder, topic_partitions)
        try:
            yield stage
        finally:
            for worker in stage.workers:
                if worker.process is not None:
                    worker.kill()
