"""The repair of the account on a real ClickHouse that has lost rows which it had acknowledged."""

import pytest

from consumers.events import EVENTS_FEED
from ops.account import measure
from ops.account_repair import AccountRepair, RepairResult, join_ranges
from ops.prepare import create_topics
from runtime.bus.memory import MemoryBus
from runtime.clock import ManualClock
from runtime.settings import Settings
from schemas.codec import encode
from tests.integration.consumers.test_consumers import consume, publish
from tests.support.events import event
from warehouse.client import Warehouse
from warehouse.writer import ClickHouseWriter

pytestmark = pytest.mark.clickhouse
COUNT = 60


async def filled(settings: Settings, warehouse: Warehouse) -> MemoryBus:
    """Return a bus whose events ClickHouse has consumed: 60 messages, of which 10 came twice."""
    bus = MemoryBus(ManualClock())
    await create_topics(settings, bus)
    events = [event({"user_id": f"u{n % COUNT}"}, id=f"m{n % COUNT}") for n in range(COUNT + 10)]
    await publish(settings, bus, "events", *((each.owner, encode(each)) for each in events))

    async def quiet() -> bool:
        return (await measure(settings, bus, warehouse)).in_flight == 0

    await consume(settings, bus, ClickHouseWriter(warehouse), quiet)
    return bus


@pytest.mark.parametrize(
    "losses",
    [
        ["DELETE FROM ledger WHERE offset % 7 < 3", "DELETE FROM event_store WHERE offset % 7 < 3"],
        ["DELETE FROM ledger WHERE partition = 0", "DELETE FROM event_store WHERE partition = 0"],
        ["DELETE FROM ledger WHERE offset > 3"],
        ["DELETE FROM event_store WHERE id IN ('m3', 'm7', 'm59')"],
        ["TRUNCATE TABLE ledger", "TRUNCATE TABLE event_store"],
        ["DELETE FROM ledger WHERE offset % 3 = 0", "DELETE FROM event_store WHERE id IN ('m3', 'm4', 'm5', 'm6')"],
    ],
)
async def test_what_kafka_has_is_inserted_again(clickhouse_settings: Settings, warehouse: Warehouse, losses: list[str]) -> None:
    settings = clickhouse_settings
    bus = await filled(settings, warehouse)
    whole = await warehouse.query("SELECT * FROM event_store FINAL ORDER BY owner, id")
    before = await measure(settings, bus, warehouse)
    for loss in losses:
        await warehouse.command(loss)
    assert not (await measure(settings, bus, warehouse)).balanced
    repaired = await AccountRepair(settings, bus, warehouse, ManualClock()).run()
    assert repaired.repaired > 0
    assert repaired.lost == 0
    assert await measure(settings, bus, warehouse) == before
    assert before.balanced
    assert await warehouse.query("SELECT * FROM event_store FINAL ORDER BY owner, id") == whole
    assert await AccountRepair(settings, bus, warehouse, ManualClock()).run() == RepairResult(0, 0, 0)


class ShortenedBus(MemoryBus):
    """A broker that no longer has the first two records of a partition."""

    async def start_offsets(self, topic: str) -> dict[int, int]:
        return dict.fromkeys(await super().start_offsets(topic), 2)


async def test_what_kafka_no_longer_has_is_counted_as_lost(clickhouse_settings: Settings, warehouse: Warehouse) -> None:
    bus = await filled(clickhouse_settings, warehouse)
    await warehouse.command("TRUNCATE TABLE ledger")
    await warehouse.command("TRUNCATE TABLE event_store")
    shortened = ShortenedBus(ManualClock())
    shortened._topics = bus._topics
    ends = await bus.end_offsets(clickhouse_settings.topic("events"))
    repaired = await AccountRepair(clickhouse_settings, shortened, warehouse, ManualClock()).run()
    expected_lost = sum(min(end, 2) for end in ends.values())
    assert (repaired.lost, repaired.repaired) == (expected_lost, COUNT + 10 - expected_lost)


async def test_a_row_that_is_refused_is_quarantined_by_the_repair(clickhouse_settings: Settings, warehouse: Warehouse) -> None:
    bus = await filled(clickhouse_settings, warehouse)
    await warehouse.command("DELETE FROM event_store WHERE id IN ('m3', 'm4')")
    await warehouse.command("ALTER TABLE event_store ADD CONSTRAINT third CHECK id != 'm3'")
    repaired = await AccountRepair(clickhouse_settings, bus, warehouse, ManualClock()).run()
    assert repaired.quarantined == len(await records_of(bus, clickhouse_settings)) > 0
    outcomes = await warehouse.query("SELECT outcome, count() FROM ledger FINAL WHERE reason = 'store_refused' GROUP BY outcome")
    assert outcomes == [("quarantined", repaired.quarantined)]
    assert await warehouse.query("SELECT count() FROM event_store FINAL WHERE id = 'm4'") == [(1,)]


async def records_of(bus: MemoryBus, settings: Settings) -> list[object]:
    reader = await bus.reader([settings.topic("quarantine")])
    return [record for records in (await reader.poll(100, 1_000)).values() for record in records]


def test_ranges_that_touch_are_joined() -> None:
    assert join_ranges([(1, range(5, 7)), (0, range(3)), (1, range(7, 8)), (1, range(1, 2))]) == {
        0: [range(3)], 1: [range(1, 2), range(5, 8)],
    }  # fmt: skip
    assert EVENTS_FEED.topic == "events"
