"""A row that ClickHouse refuses for ever costs its own record alone, and every record keeps its place in the account."""

from collections.abc import Sequence

import pytest

from consumers.events import EVENTS_FEED
from consumers.feeds import LINKS_FEED, QUARANTINE_FEED
from runtime.bus.memory import MemoryBus
from runtime.errors import Transient
from runtime.metrics import Metrics
from schemas.codec import decode, encode
from schemas.quarantine import NO_POSITION, build_quarantine_record
from schemas.records import Link, LinkDecision, QuarantineRecord
from tests.support.events import event
from tests.unit.consumers.test_loop import SETTINGS, bus_with, noted, publish, run_until
from warehouse.batches import insert_batch
from warehouse.error_codes import RowsRefused
from warehouse.rows import TableRow
from warehouse.tables import DECISIONS, EVENT_STORE, EVIDENCE, LEDGER, POSITIONS, QUARANTINE, Table
from warehouse.writer import MemoryWriter


class RefusingWriter(MemoryWriter):
    """Refuses every row of a table that holds the given value."""

    def __init__(self, table: Table, value: object) -> None:
        super().__init__()
        self._table, self._value = table, value

    async def insert(self, table: Table, rows: Sequence[TableRow]) -> None:
        if table is self._table and any(self._value in row for row in rows):
            raise RowsRefused("ClickHouse answered with error 469 (VIOLATED_CONSTRAINT)")
        await super().insert(table, rows)


async def quarantined(bus: MemoryBus) -> list[QuarantineRecord]:
    reader = await bus.reader([SETTINGS.topic("quarantine")])
    polled = await reader.poll(10, 100)
    return [decode(QuarantineRecord, record.value) for records in polled.values() for record in records]


async def test_a_refused_event_is_quarantined_whole_and_the_others_are_stored() -> None:
    bus, writer = await bus_with("events"), RefusingWriter(EVENT_STORE, "m5")
    await publish(bus, "events", *(encode(event({"user_id": f"u{n}"}, id=f"m{n}")) for n in range(9)))
    await run_until(bus, writer, EVENTS_FEED, lambda: bool(writer.rows(POSITIONS)))
    assert {row[1] for row in writer.rows(EVENT_STORE)} == {f"m{n}" for n in range(9) if n != 5}
    outcomes = {row[LEDGER.column_index("offset")]: row[4:6] for row in writer.rows(LEDGER)}
    assert outcomes == {n: ("quarantined", "store_refused") if n == 5 else ("stored", "") for n in range(9)}
    (record,) = await quarantined(bus)
    assert (record.stage, record.reason, record.offset, record.counted) == ("consumers", "store_refused", 5, True)
    assert record.detail == "ClickHouse answered with error 469 (VIOLATED_CONSTRAINT)"
    assert await noted(writer, "events") == 9


async def test_a_refused_row_of_another_topic_is_quarantined_uncounted_and_other_tables_get_theirs() -> None:
    bus, writer = await bus_with("links"), RefusingWriter(EVIDENCE, "2b")
    link = Link(a="0a", b="2b", first_ms=5, first_event="m", last_ms=5, last_event="m", source="s", owner="2b")
    decision = LinkDecision(operation="o1", action="cut", pairs=(("cut", "0a", "2b"),), on=True, at_ms=9, by="Ánh", reason="nhầm")
    await publish(bus, "links", encode(link), encode(decision))
    await run_until(bus, writer, LINKS_FEED, lambda: bool(writer.rows(POSITIONS)))
    assert writer.rows(EVIDENCE) == []
    assert len(writer.rows(DECISIONS)) == 1
    (record,) = await quarantined(bus)
    assert (record.topic, record.offset, record.counted) == (SETTINGS.topic("links"), 0, False)


@pytest.mark.parametrize(("table", "value"), [(LEDGER, "stored"), (QUARANTINE, "collector")])
async def test_a_table_of_the_account_that_refuses_waits_for_an_operator_and_publishes_nothing(table: Table, value: str) -> None:
    refused = build_quarantine_record("collector", NO_POSITION, b"{", "unparsable", "", at_ms=1, counted=True, record_id="c1")
    feed, topic, value_bytes = (
        (EVENTS_FEED, "events", encode(event({"user_id": "u1"}, id="m1")))
        if table is LEDGER
        else (QUARANTINE_FEED, "quarantine", encode(refused))
    )
    bus = await bus_with("events")
    await publish(bus, topic, value_bytes)
    reader = await bus.reader([SETTINGS.topic(topic)])
    records = [record for part in (await reader.poll(10, 10)).values() for record in part]
    batch = feed.decide(records, SETTINGS, 0)
    with pytest.raises(Transient, match="must take every row"):
        await insert_batch(RefusingWriter(table, value), batch, SETTINGS, 0, lambda _: None)


async def test_a_feed_that_no_retry_cures_waits_and_does_not_end() -> None:
    bus, writer, metrics = await bus_with("events"), RefusingWriter(LEDGER, "stored"), Metrics()
    await publish(bus, "events", encode(event({"user_id": "u1"}, id="m1")))

    def retried() -> bool:
        return (metrics.registry.get_sample_value("onefold_retries_total", {"where": "consumer-events"}) or 0) > 2

    await run_until(bus, writer, EVENTS_FEED, retried, metrics)
    assert writer.rows(POSITIONS) == []
