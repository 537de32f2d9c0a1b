"""The consumers with a real ClickHouse: whatever the moment of a crash, the account is right."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import pytest

from consumers.feeds import FEEDS
from consumers.loop import ConsumerLoop
from domain.intake.event_account import EventAccount
from ops.account import measure
from ops.prepare import create_topics
from runtime.bus.memory import MemoryBus
from runtime.bus.port import Outgoing
from runtime.clock import ManualClock
from runtime.metrics import Metrics
from runtime.settings import Settings
from schemas.codec import encode
from schemas.records import QuarantineRecord
from tests.support.events import event
from tests.support.polling import eventually_async
from warehouse.client import Warehouse
from warehouse.rows import TableRow
from warehouse.tables import Table
from warehouse.writer import ClickHouseWriter

pytestmark = pytest.mark.clickhouse
WITHIN_S = 30


class WorkerKilled(BaseException):
    """The worker's process ended without a chance to clean up."""


class CrashingWriter(ClickHouseWriter):
    """A writer that ends the process right after the given step."""

    def __init__(self, warehouse: Warehouse, after: str) -> None:
        super().__init__(warehouse)
        self._after = after

    async def insert(self, table: Table, rows: Sequence[TableRow]) -> None:
        await super().insert(table, rows)
        if table.name == self._after:
            raise WorkerKilled

    async def save_positions(self, topic: str, positions: Mapping[int, int]) -> None:
        await super().save_positions(topic, positions)
        if self._after == "note":
            raise WorkerKilled


async def publish(settings: Settings, bus: MemoryBus, topic: str, *records: tuple[str, bytes]) -> None:
    producer = await bus.producer()
    await producer.send([Outgoing(settings.topic(topic), value, key=key.encode()) for key, value in records])
    await producer.aclose()


def quarantined(name: str, topic: str, partition: int, offset: int) -> bytes:
    return encode(
        QuarantineRecord(
            id=name, stage="s", reason="unparsable", detail="", source="", topic=topic, partition=partition, offset=offset, raw="",
            at_ms=1, counted=True,
        )
    )  # fmt: skip


async def consume(settings: Settings, bus: MemoryBus, writer: ClickHouseWriter, until: Callable[[], Awaitable[bool]]) -> None:
    """Run all feeds until the condition holds, or one is killed."""
    stop = asyncio.Event()
    loops = [ConsumerLoop(settings, bus, writer, ManualClock(), Metrics(), feed) for feed in FEEDS]
    tasks = [asyncio.create_task(_surviving(loop, stop)) for loop in loops]

    async def ended() -> bool:
        return any(task.done() for task in tasks) or await until()

    await eventually_async(ended, within_s=WITHIN_S, every_s=0.05)
    stop.set()
    await asyncio.gather(*tasks)


async def _surviving(loop: ConsumerLoop, stop: asyncio.Event) -> None:
    try:
        await loop.run(stop)
    except WorkerKilled:
        return


@pytest.mark.parametrize("after", ["event_store", "ledger", "note"])
async def test_the_account_is_right_before_and_after_a_crash(
    clickhouse_settings: Settings, warehouse: Warehouse, after: str
) -> None:
    settings, bus = clickhouse_settings, MemoryBus(ManualClock())
    await create_topics(settings, bus)
    said = [event({"user_id": f"u{n % 30}"}, id=f"m{n % 80}") for n in range(100)]
    await publish(settings, bus, "events", *((one.owner, encode(one)) for one in said), ("x", b"{broken"))

    async def look() -> EventAccount:
        return await measure(settings, bus, warehouse)

    async def never() -> bool:
        return False

    await consume(settings, bus, CrashingWriter(warehouse, after), never)
    crashed = await look()
    assert crashed.balanced
    assert crashed.in_flight > 0

    (broken,) = [
        (number, index)
        for number, log in enumerate(await logs(bus, settings.topic("events")))
        for index, value in enumerate(log)
        if value == b"{broken"
    ]
    await publish(
        settings,
        bus,
        "quarantine",
        ("", quarantined("unify-1", settings.topic("events"), *broken)),
        ("", quarantined("collector-1", "", -1, -1)),
    )

    async def quiet() -> bool:
        return (await look()).in_flight == 0

    await consume(settings, bus, ClickHouseWriter(warehouse), quiet)
    assert await look() == EventAccount(
        accepted=102, stored=len({(one.owner, one.id) for one in said}), duplicate=100 - len({(one.owner, one.id) for one in said}),
        suppressed=0, quarantined=2, in_flight=0, balanced=True,
    )  # fmt: skip


async def test_a_row_that_is_lost_shows_in_the_account(clickhouse_settings: Settings, warehouse: Warehouse) -> None:
    settings, bus = clickhouse_settings, MemoryBus(ManualClock())
    await create_topics(settings, bus)
    said = [event({"user_id": f"u{n}"}, id=f"m{n}") for n in range(10)]
    await publish(settings, bus, "events", *((one.owner, encode(one)) for one in said))

    async def quiet() -> bool:
        return (await measure(settings, bus, warehouse)).in_flight == 0

    await consume(settings, bus, ClickHouseWriter(warehouse), quiet)
    await warehouse.command("DELETE FROM event_store WHERE id = 'm3'")
    account = await measure(settings, bus, warehouse)
    assert account.accepted == 10
    assert account.stored == 9
    assert account.balanced is False


async def logs(bus: MemoryBus, topic: str) -> list[list[Any]]:
    """Return all values of a topic by partition."""
    ends = await bus.end_offsets(topic)
    found: list[list[Any]] = [[] for _ in ends]
    reader = await bus.reader([topic])
    while any(len(found[number]) < end for number, end in ends.items()):
        for partition, records in (await reader.poll(1_000, 1_000)).items():
            found[partition.number] += [record.value for record in records]
    await reader.aclose()
    return found
