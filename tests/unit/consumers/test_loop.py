"""The consumers' loop over the twins of broker and ClickHouse: nothing lost, repetitions harmless."""

import asyncio
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from consumers.batch import Feed
from consumers.events import EVENTS_FEED
from consumers.feeds import IDENTITIES_FEED, LINKS_FEED
from consumers.loop import ConsumerLoop
from runtime.bus.memory import MemoryBus
from runtime.bus.port import Outgoing
from runtime.clock import ManualClock
from runtime.errors import Transient
from runtime.metrics import Metrics
from runtime.settings import Settings
from schemas.codec import decode, encode
from schemas.records import Identity, Link, LinkDecision, QuarantineRecord, ReclusterRequest
from tests.support.events import event
from tests.support.polling import eventually_async
from warehouse.rows import TableRow
from warehouse.tables import DECISIONS, EVENT_STORE, EVIDENCE, IDENTITIES, LABELS, LEDGER, POSITIONS, Table
from warehouse.writer import MemoryWriter

SETTINGS = Settings(consumer_batch_ms=10)
WITHIN_S = 10
wait_until = functools.partial(eventually_async, within_s=WITHIN_S)


async def bus_with(*topics: str) -> MemoryBus:
    bus = MemoryBus(ManualClock())
    await bus.create_topics({SETTINGS.topic(name): (2, {}) for name in (*topics, "quarantine")})
    return bus


async def publish(bus: MemoryBus, topic: str, *values: bytes) -> None:
    producer = await bus.producer()
    await producer.send([Outgoing(SETTINGS.topic(topic), value, partition=0) for value in values])
    await producer.aclose()


async def run_until(
    bus: MemoryBus, writer: MemoryWriter, feed: Feed, condition: Callable[[], bool], metrics: Metrics | None = None
) -> None:
    """Run a loop until the condition holds, then end it in order."""
    stop = asyncio.Event()
    loop = ConsumerLoop(SETTINGS, bus, writer, ManualClock(), metrics or Metrics(), feed, retry_base_ms=1)
    task = asyncio.create_task(loop.run(stop))
    try:
        await wait_until(condition)
    finally:
        stop.set()
        await task


async def noted(writer: MemoryWriter, topic: str) -> int:
    return (await writer.positions(SETTINGS.topic(topic))).get(0, 0)


def outcomes(writer: MemoryWriter) -> list[str]:
    return [row[LEDGER.column_index("outcome")] for row in writer.rows(LEDGER)]


async def test_every_record_of_events_is_entered_in_the_ledger() -> None:
    bus, writer = await bus_with("events"), MemoryWriter()
    said = event({"user_id": "u1"}, id="m1")
    await publish(bus, "events", encode(said), b"{not json", encode(said), b'{"version": 99}', "é".encode())
    await run_until(bus, writer, EVENTS_FEED, lambda: len(outcomes(writer)) == 5)
    assert outcomes(writer) == ["stored", "quarantined", "stored", "quarantined", "quarantined"]
    assert len(writer.rows(EVENT_STORE)) == 1
    assert await noted(writer, "events") == 5
    assert await bus.committed(SETTINGS.group("warehouse-events"), SETTINGS.topic("events")) == {0: 5}


LINK = Link(a="0a", b="2b", first_ms=5, first_event="m", last_ms=5, last_event="m", source="default", owner="2b")


async def test_an_undecodable_record_of_another_topic_goes_to_quarantine_uncounted() -> None:
    bus, writer = await bus_with("links"), MemoryWriter()
    await publish(bus, "links", b"[]", encode(LINK))
    await run_until(bus, writer, LINKS_FEED, lambda: len(writer.rows(EVIDENCE)) == 1)
    reader = await bus.reader([SETTINGS.topic("quarantine")])
    polled = await reader.poll(1_000, 10)
    (record,) = [record for records in polled.values() for record in records]
    held = decode(QuarantineRecord, record.value)
    assert held.counted is False
    assert held.topic == SETTINGS.topic("links")
    assert held.offset == 0


async def test_evidence_and_decisions_are_stored_and_recluster_requests_are_not() -> None:
    bus, writer = await bus_with("links"), MemoryWriter()
    decided = LinkDecision(operation="o1", action="cut", pairs=(("cut", "0a", "2b"),), on=True, at_ms=9, by="Ánh", reason="nhầm")
    old = b'{"version":1,"a":"0a","b":"3c","first_ms":5,"last_day":0,"event_id":"m","source":"web"}'
    await publish(bus, "links", encode(ReclusterRequest(nodes=("0a",), rules_number=1)), encode(LINK), encode(decided), old)
    await run_until(bus, writer, LINKS_FEED, lambda: bool(writer.rows(POSITIONS)))
    assert [row[:2] for row in writer.rows(EVIDENCE)] == [("0a", "2b"), ("0a", "3c")]
    assert writer.rows(DECISIONS) == [("o1", "cut", "cut", "0a", "2b", True, 9, "", "Ánh", "nhầm")]
    assert await noted(writer, "links") == 4
    assert await bus.end_offsets(SETTINGS.topic("quarantine")) == {0: 0, 1: 0}


class FaultyWriter(MemoryWriter):
    """A writer that fails at the given calls, once for each."""

    def __init__(self, *faults: str) -> None:
        super().__init__()
        self.faults = list(faults)
        self.inserted = 0

    async def insert(self, table: Table, rows: Sequence[TableRow]) -> None:
        self._maybe(table.name)
        self.inserted += 1
        await super().insert(table, rows)
        self._maybe(f"after {table.name}")

    async def save_positions(self, topic: str, positions: Mapping[int, int]) -> None:
        self._maybe("note")
        await super().save_positions(topic, positions)

    def _maybe(self, place: str) -> None:
        if self.faults and self.faults[0] == place:
            self.faults.pop(0)
            raise Transient(place)


async def test_faults_between_any_two_steps_are_retried_and_repeat_nothing() -> None:
    bus, writer = await bus_with("events"), FaultyWriter("event_store", "after event_store", "ledger", "after ledger", "note")
    await publish(bus, "events", *(encode(event({"user_id": f"u{n}"}, id=f"m{n}")) for n in range(20)))
    group, topic = SETTINGS.group("warehouse-events"), SETTINGS.topic("events")

    def done() -> bool:
        return not writer.faults and bool(writer.rows(POSITIONS))

    await run_until(bus, writer, EVENTS_FEED, done)
    assert len(writer.rows(EVENT_STORE)) == len(outcomes(writer)) == 20
    assert await bus.committed(group, topic) == {0: 20}
    assert await noted(writer, "events") == 20


async def test_a_worker_killed_before_its_commit_repeats_harmlessly() -> None:
    bus, writer = await bus_with("events"), MemoryWriter()
    await publish(bus, "events", *(encode(event({"user_id": f"u{n}"}, id=f"m{n}")) for n in range(20)))
    consumer = await bus.consumer(SETTINGS.group("warehouse-events"), [SETTINGS.topic("events")])
    records = [r for held in (await consumer.poll(1_000, 12)).values() for r in held]
    for table, rows in EVENTS_FEED.decide(records, SETTINGS, 0).rows.items():
        await writer.insert(table, rows)
    await consumer.aclose()
    await run_until(bus, writer, EVENTS_FEED, lambda: len(outcomes(writer)) == 20)
    assert len(writer.rows(EVENT_STORE)) == 20


async def test_a_clickhouse_that_lost_rows_is_filled_from_its_own_position() -> None:
    bus = await bus_with("events")
    await publish(bus, "events", *(encode(event({"user_id": f"u{n}"}, id=f"m{n}")) for n in range(10)))
    first = MemoryWriter()
    await run_until(bus, first, EVENTS_FEED, lambda: len(outcomes(first)) == 10)
    restored = MemoryWriter()
    await restored.save_positions(SETTINGS.topic("events"), {0: 4})
    await publish(bus, "events", encode(event({"user_id": "late"}, id="late")))
    await run_until(bus, restored, EVENTS_FEED, lambda: len(outcomes(restored)) == 7)
    assert [row[LEDGER.column_index("offset")] for row in restored.rows(LEDGER)] == list(range(4, 11))


class Flaky(MemoryBus):
    """A broker that fails three times, each time after it has handed over a record."""

    failures = 3

    async def consumer(self, group: str, topics: Sequence[str]) -> Any:
        inner = await super().consumer(group, topics)
        poll, handed = inner.poll, 0

        async def failing(timeout_ms: int, max_records: int) -> Any:
            nonlocal handed
            if handed and self.failures:
                self.failures -= 1
                raise Transient("Kafka does not answer")
            polled = await poll(timeout_ms, min(max_records, 1))
            handed += len(polled)
            return polled

        inner.poll = failing  # type: ignore[method-assign]  # a fault is put in
        return inner


async def test_records_in_hand_when_reading_fails_are_read_again() -> None:
    bus, writer = Flaky(ManualClock()), MemoryWriter()
    await bus.create_topics({SETTINGS.topic(name): (1, {}) for name in ("events", "quarantine")})
    await publish(bus, "events", *(encode(event({"user_id": f"u{n}"}, id=f"m{n}")) for n in range(5)))
    await run_until(bus, writer, EVENTS_FEED, lambda: len(outcomes(writer)) == 5)
    assert not bus.failures
    assert await noted(writer, "events") == 5


async def test_labels_come_from_identities_and_a_dissolved_profile_leaves_only_its_change() -> None:
    bus, writer = await bus_with("identities"), MemoryWriter()
    await publish(
        bus,
        "identities",
        encode(Identity(profile_id="0a", members=("0a", "2b"), label_version=9, cause="m1", at_ms=7)),
        encode(Identity(profile_id="2b", members=(), label_version=9, merged_into="0a", cause="m1", at_ms=7)),
        encode(Identity(profile_id="2b", members=("2b",), label_version=4, split_from="0a", at_ms=3)),
    )
    await run_until(bus, writer, IDENTITIES_FEED, lambda: bool(writer.rows(POSITIONS)))
    assert writer.rows(LABELS) == [("0a", "0a", 9), ("2b", "0a", 9)]
    assert writer.rows(IDENTITIES) == [
        ("0a", 9, ["0a", "2b"], "", "", "m1", 7),
        ("2b", 4, ["2b"], "", "0a", "", 3),
        ("2b", 9, [], "0a", "", "m1", 7),
    ]
