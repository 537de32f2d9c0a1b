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

from bisect import bisect_right
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ops.progress import ProgressReporter, report_nothing
from runtime.bus.epochs import log_start
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
_READ_THROUGH: Final = 1_000
"""Ranges with at most so many offsets between are read in one go: a seek costs a round trip."""
_POLL_MS: Final = 1_000
_POLL_RECORDS: Final = 5_000
_SILENT_POLLS: Final = 30
Ranges = dict[int, list[range]]
"""Ranges of offsets by partition."""
Bounds = dict[str, list[int]]
"""The parameters `partitions` and `positions` of the queries: up to where each partition was consumed."""


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
        if not positions:
            return RepairResult(0, 0, 0)
        bounds = {"partitions": list(positions), "positions": list(positions.values())}
        # The ledger first: only a whole one tells which events have to be there.
        ledger = await self._read_again(await self._ledger_gaps(bounds))
        events = await self._read_again(await self._unstored_events(bounds))
        return RepairResult(ledger.repaired + events.repaired, ledger.quarantined + events.quarantined, ledger.lost + events.lost)

    async def _ledger_gaps(self, bounds: Bounds) -> Ranges:
        rows = await named_queries.fetch_rows(self._warehouse, "ledger_gaps", **bounds)
        # Between the last offset of a log that is lost and the first one of the log that took its place, nothing is missing.
        return join_ranges(
            (number, range(start, behind)) for number, first, behind in rows if (start := max(first, log_start(behind))) < behind
        )

    async def _unstored_events(self, bounds: Bounds) -> Ranges:
        counts = await named_queries.fetch_rows(self._warehouse, "account", **bounds, first_offset=self._bus.first_offset)
        stored, _, messages, *_ = counts[0]
        parts = messages // _MESSAGES_PER_PART + 1 if stored < messages else 0
        offsets: list[tuple[int, range]] = []
        for part in range(parts):
            rows = await named_queries.fetch_rows(self._warehouse, "unstored_events", **bounds, parts=parts, part=part)
            offsets += [(number, range(offset, offset + 1)) for number, offset in rows]
        return join_ranges(offsets)

    async def _read_again(self, missing: Ranges) -> RepairResult:
        """Insert the records of these ranges that Kafka still has."""
        readable = clipped(missing, await self._bus.start_offsets(self._topic))
        total = count_offsets(readable)
        repaired = quarantined = 0
        if total:
            ends = await self._bus.end_offsets(self._topic)
            producer, reader = await self._bus.producer(), await self._bus.reader([self._topic])
            try:
                async for records in read_ranges(reader, self._topic, readable, ends):
                    quarantined += await self._insert(records, producer)
                    repaired += len(records)
                    self._report("events", repaired, total)
            finally:
                await reader.aclose()
                await producer.aclose()
        return RepairResult(repaired, quarantined, count_offsets(missing) - total)

    async def _insert(self, records: Sequence[Record], producer: Producer) -> int:
        """Insert the rows of records, and return how many of them were refused."""
        now_ms = self._clock.now_ms()
        refused = await insert_batch(ClickHouseWriter(self._warehouse), event_batch(records), self._settings, now_ms, _ignore)
        if refused:
            await producer.send(refused)
        return len(refused)


def _ignore(_insert: TableInsert) -> None:
    """Measure nothing: a command has no metrics."""


def join_ranges(offsets: Iterable[tuple[int, range]], gap: int = 0) -> Ranges:
    """Return ranges of offsets by partition, in order, with those joined that touch or have at most `gap` offsets between."""
    joined: Ranges = {}
    for number, part in sorted(offsets, key=lambda pair: (pair[0], pair[1].start)):
        parts = joined.setdefault(number, [])
        if parts and part.start <= parts[-1].stop + gap:
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
        partition, starts = Partition(topic, number), [part.start for part in parts]
        for span in join_ranges(((number, part) for part in parts), _READ_THROUGH).get(number, []):
            await reader.seek(partition, span.start)
            silent = 0
            while await reader.position(partition) < span.stop:
                polled = (await reader.poll(_POLL_MS, _POLL_RECORDS)).get(partition, [])
                if records := [record for record in polled if _is_in(record.offset, parts, starts)]:
                    yield records
                silent = 0 if polled else silent + 1
                if silent > _SILENT_POLLS:
                    raise Transient("Kafka gives no records: run the repair again")
        await reader.seek(partition, ends.get(number, 0))


def _is_in(offset: int, parts: Sequence[range], starts: Sequence[int]) -> bool:
    """Tell whether an offset is in one of these ranges; `starts` are their first offsets."""
    index = bisect_right(starts, offset) - 1
    return index >= 0 and offset in parts[index]
