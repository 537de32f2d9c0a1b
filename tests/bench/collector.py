"""The collector process: events a second and latency at several batch sizes, beside a bare "HTTP -> broker" floor.

`python -m tests.bench.collector` prints its part of the page; `--profile` says where the collector's time goes.
"""

import argparse
import asyncio
import base64
import contextlib
import cProfile
import os
import pstats
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from httpx import ASGITransport, AsyncClient

from collector.app import create_app
from runtime.bus.kafka import KafkaBus
from runtime.clock import SystemClock
from runtime.metrics import Metrics
from runtime.settings import Settings
from tests.bench.load import bodies, calls
from tests.support.collector_harness import KEY, known_sources, source
from tests.support.collector_process import ROOT, CollectorProcess, collector_process
from tests.support.polling import eventually
from tests.support.ports import free_port
from tests.support.services import kafka_spec, running_service

REQUESTS = {1: 3_000, 10: 1_500, 50: 600}
"""Requests of a round by the events in each."""
CONNECTIONS = 16


@dataclass(frozen=True, slots=True)
class LoadSample:
    """One round of one batch size."""

    per_s: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Beside:
    """Medians over the rounds, and the median of the rounds' ratios."""

    batch: int
    floor: LoadSample
    collector: LoadSample
    ratio: float


@dataclass(frozen=True, slots=True)
class CollectorFigures:
    """The figures of the collector's benchmark; `load` is the machine's load average before and after."""

    sizes: list[Beside]
    load: tuple[float, float]


def request(body: bytes) -> bytes:
    """Return the bytes of an HTTP request that posts `body` to the collector."""
    key = base64.b64encode(f"{KEY}:".encode()).decode()
    head = f"POST /v1/batch HTTP/1.1\r\nHost: bench\r\nAuthorization: Basic {key}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def drive(port: int, sent: list[bytes], batch: int) -> LoadSample:
    """Send all over CONNECTIONS connections, each when the one before it was answered."""
    waiting, took = iter(sent), list[float]()

    async def connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for one in waiting:
            began = time.perf_counter()
            writer.write(one)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 "), head
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.partition(b":")[2]))
            took.append((time.perf_counter() - began) * 1_000)
        writer.close()
        await writer.wait_closed()

    began = time.perf_counter()
    await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))
    elapsed = time.perf_counter() - began
    assert len(took) == len(sent)
    cuts = statistics.quantiles(took, n=100)
    return LoadSample(len(sent) * batch / elapsed, cuts[49], cuts[98])


@contextlib.contextmanager
def floor_process(process: CollectorProcess) -> Iterator[int]:
    """Start the floor server on the collector's own broker with a topic like `events`, and yield its port."""
    settings, port = process.settings, free_port()
    topic = f"{settings.environment}.floor"

    async def prepare() -> None:
        async with KafkaBus(settings) as bus:
            await bus.create_topics({topic: (3, {})})

    asyncio.run(prepare())
    argv = [sys.executable, "-m", "tests.bench.collector_floor", settings.kafka_bootstrap, topic, str(port)]
    child = subprocess.Popen(argv, cwd=ROOT)
    try:
        _await_port(port, child)
        yield port
    finally:
        child.terminate()
        child.wait()


def _await_port(port: int, child: subprocess.Popen[bytes], within_s: float = 30) -> None:
    def listens() -> bool:
        assert child.poll() is None, "the floor has ended"
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return True
        return False

    eventually(listens, within_s=within_s, every_s=0.02, explain=lambda: "the floor is not there")


def measure_collector(rounds: int = 3) -> CollectorFigures:
    """Measure the floor and the collector in turn, on a broker of their own and after warming up both."""
    before, found = os.getloadavg()[0], dict[int, list[tuple[LoadSample, LoadSample]]]()
    with tempfile.TemporaryDirectory() as directory:
        spec, bootstrap = kafka_spec(Path(directory) / "kafka")
        with (
            running_service(spec),
            collector_process(bootstrap, Path(directory), source("default", KEY)) as process,
            floor_process(process) as floor_port,
        ):
            ports = (floor_port, process.settings.collector_port)
            for number in range(-1, rounds):
                for batch, count in REQUESTS.items():
                    made = calls(batch * count, number + 1, f"c{number + 1}-{batch}")
                    sent = [request(body) for body in bodies(made, batch)]
                    seen = [asyncio.run(drive(port, sent, batch)) for port in ports]
                    if number >= 0:
                        found.setdefault(batch, []).append((seen[0], seen[1]))
    return CollectorFigures(
        [_beside(batch, pairs) for batch, pairs in found.items()], (round(before, 1), round(os.getloadavg()[0], 1))
    )


def _beside(batch: int, pairs: list[tuple[LoadSample, LoadSample]]) -> Beside:
    floor, collector = (_median([pair[which] for pair in pairs]) for which in (0, 1))
    return Beside(batch, floor, collector, statistics.median(pair[1].per_s / pair[0].per_s for pair in pairs))


def _median(seen: list[LoadSample]) -> LoadSample:
    return LoadSample(
        *(statistics.median(values) for values in zip(*((one.per_s, one.p50_ms, one.p99_ms) for one in seen), strict=True))
    )


def render_collector(figures: CollectorFigures) -> str:
    """Return the performance page's section about the collector."""
    rows = "\n".join(
        f"| {one.batch} | {one.floor.per_s:,.0f} | {one.collector.per_s:,.0f} | {one.ratio:.2f} "
        f"| {one.floor.p50_ms:.1f} | {one.floor.p99_ms:.1f} | {one.collector.p50_ms:.1f} | {one.collector.p99_ms:.1f} |"
        for one in figures.sizes
    )
    return f"""## Collector

Events that one collector process has accepted, durable in the broker, a second, and how long a request took, with {CONNECTIONS} connections
that each wait for their answer. *Floor*: the least Starlette app on the same server that puts the raw body, as one record, into the
broker with the same producer (acks=all, idempotent): no JSON, no validation, no event records. In turn, in one run; medians. Client,
broker and both servers share the machine; its load was {figures.load[0]} before and {figures.load[1]} after.

| Events a request | Floor, events/s | Collector, events/s | Ratio | Floor p50, ms | Floor p99, ms | Collector p50, ms | Collector p99, ms |
| --- | --- | --- | --- | --- | --- | --- | --- |
{rows}
"""


async def _profiled(batch: int, bootstrap: str) -> None:
    """Run a collector in this process for the profiler, with a real broker and without HTTP framing."""
    settings = Settings(kafka_bootstrap=bootstrap, environment=f"p{batch}")
    async with KafkaBus(settings) as bus:
        await bus.create_topics({settings.topic(name): (3, {}) for name in ("events", "quarantine")})
        producer = await bus.producer()
        app = create_app(settings, producer, SystemClock(), known_sources(), Metrics())
        async with AsyncClient(transport=ASGITransport(app), base_url="http://bench") as http:
            for body in bodies(calls(batch * REQUESTS[batch], 0, "p"), batch):
                assert (await http.post("/v1/batch", content=body, auth=(KEY, ""))).status_code == 200
        await producer.aclose()


def main() -> None:
    """Print the section, or a profile at each batch size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    if not options.profile:
        print(render_collector(measure_collector(options.rounds)))
        return
    with tempfile.TemporaryDirectory() as directory:
        spec, bootstrap = kafka_spec(Path(directory))
        with running_service(spec):
            for batch in (1, 50):
                profile = cProfile.Profile()
                profile.runcall(asyncio.run, _profiled(batch, bootstrap))
                print(f"{batch} events a request")
                pstats.Stats(profile, stream=sys.stdout).sort_stats("tottime").print_stats(25)


if __name__ == "__main__":
    main()
