"""An event that ClickHouse refuses for ever, from the refusal to its replay: accounted for at every moment."""

import pytest

from domain.intake.admission import Admission
from ops.account import measure
from ops.prepare import create_topics
from ops.quarantine.edits import RecordEdits
from ops.quarantine.entries import QuarantineQuery, list_entries
from ops.quarantine.replay_decider import ReplayDecider
from ops.quarantine.replay_runner import ReplayRunner
from runtime.bus.memory import MemoryBus
from runtime.clock import ManualClock
from runtime.settings import Settings
from schemas.codec import encode
from tests.integration.consumers.test_consumers import consume, publish
from tests.support.events import event
from warehouse.client import Warehouse
from warehouse.writer import ClickHouseWriter

pytestmark = pytest.mark.clickhouse
COUNT = 50


async def test_a_refused_event_is_quarantined_and_replayed_once_the_table_is_corrected(
    clickhouse_settings: Settings, warehouse: Warehouse
) -> None:
    settings, bus = clickhouse_settings, MemoryBus(ManualClock())
    await create_topics(settings, bus)
    events = [event({"user_id": f"khách {n}"}, id=f"m{n}") for n in range(COUNT)]
    await publish(settings, bus, "events", *((each.owner, encode(each)) for each in events))
    await warehouse.command("ALTER TABLE event_store ADD CONSTRAINT narrow CHECK id NOT IN ('m7', 'm31')")

    async def is_quiet() -> bool:
        return (await measure(settings, bus, warehouse)).in_flight == 0

    await consume(settings, bus, ClickHouseWriter(warehouse), is_quiet)
    account = await measure(settings, bus, warehouse)
    assert (account.accepted, account.stored, account.quarantined, account.balanced) == (COUNT, COUNT - 2, 2, True)
    entries = await list_entries(warehouse, QuarantineQuery(reason="store_refused"))
    assert {entry.detail for entry in entries} == {"ClickHouse answered with error 469 (VIOLATED_CONSTRAINT)"}

    await warehouse.command("ALTER TABLE event_store DROP CONSTRAINT narrow")
    producer = await bus.producer()
    runner = ReplayRunner(settings, producer, ManualClock(), "Ánh", rate=1_000, progress=lambda _: None)
    result = await runner.replay(
        warehouse, [entry.id for entry in entries], ReplayDecider(settings, [], Admission()), RecordEdits()
    )
    assert (result.sent, result.refused) == (2, [])
    await consume(settings, bus, ClickHouseWriter(warehouse), is_quiet)
    account = await measure(settings, bus, warehouse)
    assert (account.accepted, account.stored, account.quarantined, account.balanced) == (COUNT, COUNT, 0, True)
