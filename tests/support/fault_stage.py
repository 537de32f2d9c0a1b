"""A counting worker under test: the stage feeds it, kills it, and checks that every record was counted exactly once."""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from profile_store.connect import open_store
from profile_store.port import ProfileStore, TopicPartition
from runtime.bus.kafka import KafkaBus
from runtime.bus.port import Outgoing, Producer, Record
from runtime.clock import SystemClock
from runtime.errors import Transient
from runtime.settings import Settings
from schemas.topics import by_name
from tests.support.counting_worker import BUCKETS, CountingStep, bucket_id, offsets_of
from tests.support.polling import eventually_async

PARTITIONS = 4
NAMES = ("events", "links", "quarantine", "definitions")


@dataclass
class SupervisedWorker:
    """A counting worker that is restarted whenever it ends by itself, as a supervisor would."""

    variables: Mapping[str, str]
    log: Path
    codes: list[int] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, or start it again."""
        with self.log.open("ab") as out:
            argv = [sys.executable, "-m", "tests.support.counting_worker"]
            self.process = subprocess.Popen(argv, env={**os.environ, **self.variables}, stdout=out, stderr=out)

    def supervise(self) -> None:
        """Start it again if it has ended."""
        if self.process is not None and (code := self.process.poll()) is not None:
            self.codes.append(code)
            self.start()

    def kill(self) -> None:
        """Kill the worker for good, without a chance to clean up."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.process = None

    async def terminate(self, within_s: float = 60) -> int:
        """Stop the worker in order and return its exit status."""
        assert self.process is not None
        self.process.terminate()
        process, self.process = self.process, None
        return await asyncio.to_thread(process.wait, within_s)


@dataclass
class FaultStage:
    """One environment (a topic prefix, a key prefix) on a broker and a Redis server."""

    settings: Settings
    bus: KafkaBus
    producer: Producer
    store: ProfileStore
    variables: Mapping[str, str]
    folder: Path
    workers: list[SupervisedWorker] = field(default_factory=list)
    fed: int = 0

    def worker(self, **misbehaviour: str) -> SupervisedWorker:
        """Start a new worker. Each has a data directory of its own, as on machines of their own."""
        number = len(self.workers)
        own_variables = {"ONEFOLD_DATA_DIR": str(self.folder / f"worker{number}")}
        worker = SupervisedWorker({**self.variables, **own_variables, **misbehaviour}, self.folder / f"worker{number}.log")
        self.workers.append(worker)
        worker.start()
        return worker

    async def feed(self, count: int) -> None:
        """Write `count` more events."""
        name = self.settings.topic("events")
        for start in range(self.fed, self.fed + count, 500):
            batch = range(start, min(start + 500, self.fed + count))
            await self.producer.send([Outgoing(name, b"v%d" % n, b"k%d" % n) for n in batch])
        self.fed += count

    async def write(self, value: bytes) -> None:
        """Write one event with this value."""
        await self.producer.send([Outgoing(self.settings.topic("events"), value, b"k0")])
        self.fed += 1

    async def committed(self) -> int:
        """Return how many records are committed over all partitions."""
        return sum((await self.bus.committed(self.settings.group(CountingStep.name), self.settings.topic("events"))).values())

    async def counts(self) -> Counter[tuple[int, int]]:
        """Return how often the store has counted each record."""
        topic_partitions = [TopicPartition("events", partition, PARTITIONS) for partition in range(PARTITIONS)]
        ids = [bucket_id(topic_partition, number) for topic_partition in topic_partitions for number in range(BUCKETS)]
        documents = await self.store.documents("fragment", ids)
        return Counter((int(name.split("-")[1]), offset) for name in ids for offset in offsets_of(documents[name]))

    async def wait_until(self, condition: Callable[[], Awaitable[bool]], within_s: float = 90) -> None:
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
            every_s=0.1,
            on_poll=supervise,
            explain=self.log_tails,
        )

    async def wait_until_counted(self, at_least: int) -> None:
        """Wait until at least that number of records is counted."""

        async def enough_counted() -> bool:
            return (await self.counts()).total() >= at_least

        await self.wait_until(enough_counted)

    async def wait_until_committed(self, within_s: float = 90) -> None:
        """Wait until nothing is left to commit: no worker is stuck."""

        async def all_committed() -> bool:
            return await self.committed() == self.fed

        await self.wait_until(all_committed, within_s)

    async def expect_exactly_once(self, without: int = 0) -> None:
        """Check that every record is counted once and published at least once.

        `without` is the number of records that were quarantined.
        """
        await self.wait_until_counted(self.fed - without)
        counts = await self.counts()
        assert max(counts.values()) == 1
        assert len(counts) == self.fed - without
        published = {record.value for record in await self.read("links")}
        assert {b"%d:%d" % position for position in counts} <= published

    async def read(self, name: str) -> list[Record]:
        """Read all records of a topic."""
        topic = self.settings.topic(name)
        remaining = {number: end for number, end in (await self.bus.end_offsets(topic)).items() if end}
        reader, collected = await self.bus.reader([topic]), list[Record]()
        try:
            while remaining:
                for partition, records in (await reader.poll(1000, 5000)).items():
                    collected += records
                    if records[-1].offset + 1 >= remaining.get(partition.number, 0):
                        remaining.pop(partition.number, None)
        finally:
            await reader.aclose()
        return collected

    def log_tails(self) -> str:
        """Return the ends of the workers' logs."""
        return "\n".join(f"worker {n} {w.codes}: {w.log.read_text()[-3000:]}" for n, w in enumerate(self.workers))


@contextlib.asynccontextmanager
async def fault_stage(bootstrap: str, redis_url: str, environment: str, folder: Path) -> AsyncIterator[FaultStage]:
    """Make a stage with its topics, and kill its workers at the end of the block."""
    variables = {
        "ONEFOLD_KAFKA_BOOTSTRAP": bootstrap,
        "ONEFOLD_REDIS_URL": redis_url,
        "ONEFOLD_ENVIRONMENT": environment,
        "ONEFOLD_SESSION_TIMEOUT_MS": "6000",
        "ONEFOLD_MAX_POLL_RECORDS": "100",
    }
    settings = Settings(
        kafka_bootstrap=bootstrap, redis_url=SecretStr(redis_url), environment=environment, data_dir=folder, max_poll_records=100
    )
    store = open_store(settings, SystemClock())
    async with KafkaBus(settings) as bus:
        await bus.create_topics(
            {
                settings.topic(name): (1 if by_name(name).is_single_partition else PARTITIONS, dict(by_name(name).config))
                for name in NAMES
            }
        )
        producer = await bus.producer()
        stage = FaultStage(settings, bus, producer, store, variables, folder)
        try:
            yield stage
        finally:
            for worker in stage.workers:
                if worker.process is not None:
                    worker.kill()
            await producer.aclose()
            await store.aclose()
