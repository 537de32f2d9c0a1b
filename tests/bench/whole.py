"""Measures the whole pipeline: from HTTP batches of 50 until each event is a row in ClickHouse and each touch is evaluated."""

import asyncio
import json
import os
import re
import time
from pathlib import Path
from typing import Any

import httpx

from embedded.attach import settings_of_running
from ops.account import measure
from runtime.bus.kafka import KafkaBus
from runtime.settings import Settings
from tests.bench.load import bodies
from tests.support.shipped_command import Onefold
from warehouse.client import Warehouse

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Return the user and system time that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def processes(onefold: Onefold) -> dict[str, int]:
    return {role["name"]: role["pid"] for role in onefold.status()["roles"]}


async def post(address: str, key: str, payloads: list[bytes], connections: int, rate: float | None = None) -> float:
    """Send all bodies over a few connections, at `rate` bodies a second if given; seconds it took."""
    queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
    started = time.perf_counter()
    for n, payload in enumerate(payloads):
        queue.put_nowait((n / rate if rate else 0.0, payload))
    async with httpx.AsyncClient(auth=(key, ""), timeout=30, limits=httpx.Limits(max_connections=connections)) as client:

        async def work() -> None:
            while not queue.empty():
                due, payload = queue.get_nowait()
                await asyncio.sleep(max(0.0, started + due - time.perf_counter()))
                answer = await client.post(f"{address}/v1/batch", content=payload)
                answer.raise_for_status()

        await asyncio.gather(*(work() for _ in range(connections)))
    return time.perf_counter() - started


async def whole(onefold: Onefold, made: list[dict[str, Any]]) -> tuple[float, dict[str, float]]:
    """Return the events per second until the last row and membership are stored, and each role's CPU microseconds per event."""
    status = onefold.status()
    address = status["addresses"]["collector"]
    address = address if address.startswith("http") else f"http://{address}"
    before_account = onefold.account()
    pids = processes(onefold)
    before = {name: cpu_seconds(pid) for name, pid in pids.items()}
    started = time.perf_counter()
    await post(address, status["write_keys"]["server"], bodies(made), connections=4)
    end = await _rest(onefold, before_account["stored"] + len(made))
    used = {name: (cpu_seconds(pid) - before[name]) * 1e6 / len(made) for name, pid in pids.items()}
    return len(made) / (end - started), used


async def _rest(onefold: Onefold, stored: int) -> float:
    """Wait until all rows are stored and the stream agents have read everything; return when that was."""
    settings = settings_of_running(onefold.data_dir)
    async with KafkaBus(settings) as bus:
        warehouse = await Warehouse.connect(settings)
        try:
            while await lag(settings, bus):  # noqa: ASYNC110 - Kafka tells nobody when a group has caught up
                await asyncio.sleep(0.05)
            while True:
                account = await measure(settings, bus, warehouse)
                if account.stored >= stored and account.in_flight == 0 and not await lag(settings, bus):
                    return time.perf_counter()
                await asyncio.sleep(0.05)
        finally:
            await warehouse.aclose()


async def lag(settings: Settings, bus: KafkaBus) -> int:
    """Return how many records the stream agents have not handled yet, according to Kafka's committed offsets."""
    behind = 0
    for agent, topic in (("unify", "events"), ("link", "links"), ("segment", "touched")):
        ends = await bus.end_offsets(settings.topic(topic))
        done = await bus.committed(settings.group(agent), settings.topic(topic))
        behind += sum(end - done.get(partition, 0) for partition, end in ends.items())
    return behind


def stages(text: str) -> dict[str, float]:
    """Return the seconds by agent and stage from a process's metrics page."""
    pattern = re.compile(r'^onefold_slice_stage_seconds_sum\{agent="(\w+)",stage="(\w+)"\} (\S+)$', re.MULTILINE)
    return {f"{agent} {stage}": float(value) for agent, stage, value in pattern.findall(text)}


def stage_costs(onefold: Onefold) -> dict[str, float]:
    """Return the microseconds of wall time per record of `events`, by agent and stage, from the stream process's metrics."""
    ports = json.loads((onefold.data_dir / "run" / "ports.json").read_text())
    totals = stages(httpx.get(f"http://127.0.0.1:{ports['metrics.streams']}/metrics", timeout=10).text)
    events = max(onefold.account()["accepted"], 1)
    return {name: seconds * 1e6 / events for name, seconds in totals.items()}
