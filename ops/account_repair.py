"""The repair of the account: events that Kafka has and ClickHouse has lost are read again and inserted.

**Why.** The consumers save their position after the rows. A store that acknowledged rows and lost them leaves a position that
promises them: no consumer comes back to such offsets by itself.

**Which.** Offsets before a position of which the ledger has no row, and messages that the ledger has as stored and the events table
lacks.

**Invariant.** Rows that are inserted twice replace themselves, so a repair may be interrupted, repeated, and run beside the
consumers.

**Example.** The position is 100, and the ledger lacks 40 to 49. Kafka still has 45 to 49: 5 events are inserted, and 5 are lost.
The account stays unbalanced by those.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ops.progress import ProgressReporter, report_nothing
from runtime.bus.port import Bus, Partition, Producer, Reader, Record
from runtime.clock import Clock
from runtime.errors import Transient
from runtime.settings import Settings
from warehouse import named_queries
from warehouse.batches import TableInsert, insert_batch
from warehouse.client import Warehouse
from warehouse.event_batches import event_batch
from warehouse.writer import ClickHouseWriter

_MESSAGES_PER_PART: Final = 2_000_000
"""So many messages are compared with the events table at a time."""
_POLL_MS: Final = 1_000
_POLL_RECORDS: Final = 5_000
_SILENT_POLLS: Final = 30
Ranges = dict[int, list[range]]
"""Ranges of offsets by partition."""


@dataclass(frozen=True, slots=True)
class RepairResult:
    """How many events were inserted again, and how many are lost, since Kafka no longer has them.

    `quarantined` are among the repaired: ClickHouse refuses them for ever, and the ledger has that as their outcome now.
    """

    repaired: int
    quarantined: int
    lost: int


class AccountRepair:
    """Repairs the account of a running or a quiet Onefold."""

    def __init__(
        self, settings: Settings, bus: Bus, warehouse: Warehouse, clock: Clock, report: ProgressReporter = report_nothing
    ) -> None:
        self._settings, self._bus, self._warehouse, self._clock, self._report = settings, bus, warehouse, clock, report
        self._topic = settings.topic("events")

    async def run(self) -> RepairResult:
        """Insert what is missing as far as Kafka has it.

        Raises Transient when Kafka or ClickHouse does not answer: what was repaired until then stays so.
        """
        positions = dict(await named_queries.fetch_rows(self._warehouse, "positions", topic=self._topic))
        missing = await self._missing(positions) if positions else {}
        starts = await self._bus.start_offsets(self._topic)
        readable = clipped(missing, starts)
        total = count_offsets(readable)
        repaired = quarantined = 0
        producer = await self._bus.producer()
        reader = await self._bus.reader([self._topic])
        try:
            ends = await self._bus.end_offsets(self._topic)
            async for records in read_ranges(reader, self._topic, readable, ends):
                quarantined += await self._insert(records, producer)
                repaired += len(records)
                self._report("events", repaired, total)
        finally:
            await reader.aclose()
            await producer.aclose()
        return RepairResult(repaired, quarantined, count_offsets(missing) - total)

    async def _missing(self, positions: Mapping[int, int]) -> Ranges:
        bounds = {"partitions": list(positions), "positions": list(positions.values())}
        gaps = await named_queries.fetch_rows(self._warehouse, "ledger_gaps", **bounds)
        offsets = [(number, range(first, behind)) for number, first, behind in gaps]
        stored, _, messages, *_ = (await named_queries.fetch_rows(self._warehouse, "account", **bounds))[0]
        if stored < messages:
            parts = messages // _MESSAGES_PER_PART + 1
            for part in range(parts):
                rows = await named_queries.fetch_rows(self._warehouse, "unstored_events", **bounds, parts=parts, part=part)
                offsets += [(number, range(offset, offset + 1)) for number, offset in rows]
        return join_ranges(offsets)

    async def _insert(self, records: Sequence[Record], producer: Producer) -> int:
        """Insert the rows of records, and return how many of them were refused."""
        now_ms = self._clock.now_ms()
        refused = await insert_batch(ClickHouseWriter(self._warehouse), event_batch(records), self._settings, now_ms, _ignore)
        if refused:
            await producer.send(refused)
        return len(refused)


def _ignore(_insert: TableInsert) -> None:
    """Measure nothing: a command has no metrics."""


def join_ranges(offsets: Iterable[tuple[int, range]]) -> Ranges:
    """Return ranges of offsets by partition, in order, with those that touch joined."""
    joined: Ranges = {}
    for number, part in sorted(offsets, key=lambda pair: (pair[0], pair[1].start)):
        parts = joined.setdefault(number, [])
        if parts and part.start <= parts[-1].stop:
            parts[-1] = range(parts[-1].start, max(parts[-1].stop, part.stop))
        else:
            parts.append(part)
    return joined


def count_offsets(ranges: Ranges) -> int:
    """Return how many offsets the ranges have."""
    return sum(len(part) for parts in ranges.values() for part in parts)


def clipped(ranges: Ranges, starts: Mapping[int, int]) -> Ranges:
    """Return the ranges from the earliest offset on that the broker still has, by partition."""
    return {
        number: [range(max(part.start, starts.get(number, 0)), part.stop) for part in parts if part.stop > starts.get(number, 0)]
        for number, parts in ranges.items()
    }


async def read_ranges(reader: Reader, topic: str, ranges: Ranges, ends: Mapping[int, int]) -> AsyncIterator[list[Record]]:
    """Yield the records of these ranges, poll by poll.

    Raises Transient when the broker gives nothing more before the end of a range.
    """
    for number, end in ends.items():
        await reader.seek(Partition(topic, number), end)
    for number, parts in ranges.items():
        partition = Partition(topic, number)
        for part in parts:
            await reader.seek(partition, part.start)
            silent = 0
            while await reader.position(partition) < part.stop:
                polled = (await reader.poll(_POLL_MS, _POLL_RECORDS)).get(partition, [])
                if records := [record for record in polled if record.offset in part]:
                    yield records
                silent = 0 if polled else silent + 1
                if silent > _SILENT_POLLS:
                    raise Transient("Kafka gives no records: run the repair again")
        await reader.seek(partition, ends.get(number, 0))
