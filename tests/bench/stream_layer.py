"""What Faust over slices costs a record beside the bare client: the same topic read by both in turn."""

import asyncio
import tempfile
import time
import uuid
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from faust.types import TP, EventT

from runtime.bus.kafka import KafkaBus
from runtime.settings import Settings
from streams.agent import _to_bus_record
from streams.faust_app import create_faust_app
from streams.partition_queues import PartitionQueues


class _Anywhere:
    """Starts where Kafka says."""

    async def on_assigned(self, partitions: Collection[TP]) -> Mapping[TP, int]:  # noqa: ARG002 - the hook's shape
        return {}

    async def on_revoked(self) -> None:
        return

    def on_failure(self, error: BaseException) -> None:
        raise error


async def measure(settings: Settings, rounds: int = 3) -> dict[str, float]:
    """Microseconds a record, the best round of each way."""
    async with KafkaBus(settings) as bus:
        topic = settings.topic("events")
        ends = await bus.end_offsets(topic)
        count = sum(ends.values())
        bare = [await _bare(bus, topic, count) for _ in range(rounds)]
        faust = [await _faust(settings, count) for _ in range(rounds)]
    return {"bare client, getmany": min(bare) * 1e6 / count, "Faust over slices": min(faust) * 1e6 / count}


async def _bare(bus: KafkaBus, topic: str, count: int) -> float:
    reader = await bus.reader([topic])
    try:
        started, seen = time.perf_counter(), 0
        while seen < count:
            seen += sum(len(records) for records in (await reader.poll(1000, 1000)).values())
        return time.perf_counter() - started
    finally:
        await reader.aclose()


async def _faust(settings: Settings, count: int) -> float:
    done: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    seen, first = 0, 0.0

    async def handle(event: EventT[object]) -> bool:
        nonlocal seen, first
        first = first or time.perf_counter()
        records: Any = event.value
        seen += len([_to_bus_record(record) for record in records])
        event.ack()
        if seen >= count and not done.done():
            done.set_result(time.perf_counter() - first)
        return True

    def failed(error: BaseException) -> None:
        if not done.done():
            done.set_exception(error)

    with tempfile.TemporaryDirectory() as directory:
        apart = settings.model_copy(update={"data_dir": Path(directory)})
        lanes = PartitionQueues(handle, failed)
        app = create_faust_app(apart, f"bench-{uuid.uuid4().hex[:8]}", "events", assignment=_Anywhere(), queues=lanes)
        await app.start()
        try:
            return await asyncio.wait_for(done, 120)
        finally:
            await app.stop()
            await lanes.aclose()
