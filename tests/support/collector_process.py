"""The collector as a process of its own, on a real broker."""

import asyncio
import contextlib
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from domain.definitions.kinds import Source, encode_definition
from runtime.bus.kafka import KafkaBus
from runtime.bus.port import Outgoing
from runtime.settings import Settings
from schemas.codec import decode
from schemas.events import Event
from schemas.records import QuarantineRecord
from tests.support.polling import eventually
from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
WITHIN_S = 60


@dataclass(frozen=True)
class CollectorProcess:
    """A collector process that accepts events."""

    settings: Settings
    url: str
    child: subprocess.Popen[bytes]

    def read(self, topic: str, count: int) -> list[Any]:
        """Read the first `count` records of `events` or `quarantine`, decoded."""
        return asyncio.run(_read(self.settings, topic, count))


@contextlib.contextmanager
def collector_process(
    bootstrap: str, directory: Path, *sources: Source, environ: Mapping[str, str] | None = None
) -> Iterator[CollectorProcess]:
    """Start a collector that knows `sources`, with `environ` added to its environment, and yield it when it is ready."""
    settings = Settings(
        kafka_bootstrap=bootstrap,
        environment=f"t{uuid.uuid4().hex[:12]}",
        collector_port=free_port(),
        metrics_port=free_port(),
        data_dir=directory,
    )
    asyncio.run(_create_topics_and_sources(settings, sources))
    variables = {
        "ONEFOLD_KAFKA_BOOTSTRAP": bootstrap,
        "ONEFOLD_ENVIRONMENT": settings.environment,
        "ONEFOLD_COLLECTOR_PORT": str(settings.collector_port),
        "ONEFOLD_METRICS_PORT": str(settings.metrics_port),
        "ONEFOLD_DATA_DIR": str(directory),
        **(environ or {}),
    }
    log = directory / f"collector-{uuid.uuid4().hex[:6]}.log"
    with log.open("wb") as out:
        child = subprocess.Popen(
            [sys.executable, "-m", "collector"], cwd=ROOT, env={**os.environ, **variables}, stdout=out, stderr=out
        )
    try:
        _wait_until_ready(child, settings, log)
        yield CollectorProcess(settings, f"http://127.0.0.1:{settings.collector_port}", child)
    finally:
        child.terminate()
        try:
            child.wait(WITHIN_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _wait_until_ready(child: subprocess.Popen[bytes], settings: Settings, log: Path) -> None:
    def is_ready() -> bool:
        assert child.poll() is None, log.read_text()
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"http://127.0.0.1:{settings.metrics_port}/ready", timeout=10).status_code == 200
        return False

    eventually(is_ready, within_s=WITHIN_S, every_s=0.02, explain=log.read_text)


async def _create_topics_and_sources(settings: Settings, sources: tuple[Source, ...]) -> None:
    async with KafkaBus(settings) as bus:
        topics = {"events": 3, "quarantine": 1, "definitions": 1, "touchpoints": 1}
        await bus.create_topics({settings.topic(name): (count, {}) for name, count in topics.items()})
        producer = await bus.producer()
        await producer.send(
            [Outgoing(settings.topic("definitions"), encode_definition(source), source.key.encode()) for source in sources]
        )
        await producer.aclose()


async def _read(settings: Settings, topic: str, count: int) -> list[Any]:
    kind: Any = Event if topic == "events" else QuarantineRecord
    decoded: list[Any] = []
    async with KafkaBus(settings) as bus, asyncio.timeout(WITHIN_S):
        reader = await bus.reader([settings.topic(topic)])
        while len(decoded) < count:
            for records in (await reader.poll(500, 1000)).values():
                decoded += [decode(kind, record.value) for record in records]
        await reader.aclose()
    return decoded
