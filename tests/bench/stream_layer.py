"""Measures what Faust over slices costs per record beside the bare client, which read the same topic in turn."""

import asyncio
import tempfile
import time
import uuid
from collections.abc import Collection, Mapping
from pathlib import Path

from runtime.bus.kafka import KafkaBus
from runtime.bus.port import Partition
from runtime.settings import Settings
from streams.faust_app import create_faust_app
from streams.partition_queues import PartitionQueues
from streams.slice_source import DeliveredSlice


class _Anywhere:
    """An assignment that starts at the position that Kafka gives."""

    async def on_assigned(self, partitions: Collection[Partition]) -> Mapping[Partition, int]:  # noqa: ARG002 - the hook's shape
        return {}

    async def on_revoked(self) -> None:
        return

    def on_failure(self, error: BaseException) -> None:
        raise error


async def measure(settings: Settings, rounds: int = 3) -> dict[str, float]:
    """Return the microseconds per record of each way to read, from its best round."""
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

    async def handle(delivered: DeliveredSlice) -> bool:
        nonlocal seen, first
        first = first or time.perf_counter()
        seen += len(delivered.records)
        delivered.ack()
        if seen >= count and not done.done():
            done.set_result(time.perf_counter() - first)
        return True

    def failed(error: BaseException) -> None:
        if not done.done():
            done.set_exception(error)

    with tempfile.TemporaryDirectory() as directory:
        apart = settings.model_copy(update={"data_dir": Path(directory)})
        queues = PartitionQueues(handle, failed)
        app = create_faust_app(apart, f"bench-{uuid.uuid4().hex[:8]}", "events", assignment=_Anywhere(), deliver=queues.put)
        await app.start()
        try:
            return await asyncio.wait_for(done, 120)
        finally:
            await app.stop()
            await queues.aclose()
