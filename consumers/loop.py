"""The loop that all consumers share: gather records, insert their rows, save the position in ClickHouse, commit to Kafka.

Delivery is at least once, and repetition is harmless: a crash between any two steps repeats the batch, and the engines of the
tables drop repeated rows. The position is saved after the rows, so it never promises rows that are not there.

ClickHouse's own position decides where a partition starts when it is behind Kafka's commit. Example: Kafka has the commit 900, and
ClickHouse was restored from a backup whose position is 400. The loop seeks back to 400 and reads the lost 500 records again, as
far as Kafka still keeps them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Final, TypeVar

from consumers.batch import Feed
from runtime.bus.port import Bus, Consumer, Partition, Producer, Record
from runtime.clock import Clock
from runtime.errors import AnotherLog, Permanent, Transient
from runtime.logs import get_logger
from runtime.metrics import Metrics
from runtime.retry import Stopped, retry_until_stopped
from runtime.settings import Settings
from warehouse.batches import TableInsert, insert_batch
from warehouse.writer import WarehouseWriter

T = TypeVar("T")
RETRY_BASE_MS: Final = 400
RETRY_MAX_MS: Final = 10_000
_IDLE_POLL_MS: Final = 1_000

log: Final = get_logger(__name__)


class ConsumerLoop:
    """Moves one feed from its topic into its tables. `healthy` tells whether the last step succeeded."""

    def __init__(
        self,
        settings: Settings,
        bus: Bus,
        writer: WarehouseWriter,
        clock: Clock,
        metrics: Metrics,
        feed: Feed,
        *,
        retry_base_ms: int = RETRY_BASE_MS,
    ) -> None:
        self._settings = settings
        self._bus = bus
        self._writer = writer
        self._clock = clock
        self._metrics = metrics
        self._feed = feed
        self._retry_base_ms = retry_base_ms
        self._topic = settings.topic(feed.topic)
        self._positioned: set[Partition] = set()
        self.healthy = False

    @property
    def name(self) -> str:
        """The name in logs, metrics and health checks."""
        return f"consumer-{self._feed.topic}"

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set; records gathered by then are inserted first. Transient faults are retried without end."""
        with suppress(Stopped):
            await self._retry(lambda: self._session(stop), stop)
        self.healthy = False

    async def _session(self, stop: asyncio.Event) -> None:
        """Read as a member of the consumer group until `stop`. A failed read ends the session; the next starts from the commit."""
        self._positioned.clear()
        producer = await self._bus.producer()
        try:
            consumer = await self._bus.consumer(self._settings.group(f"warehouse-{self._feed.topic}"), [self._topic])
            first_offset = self._bus.first_offset
            try:
                while not stop.is_set():
                    gathered = await self._gather(consumer, stop)
                    self.healthy = True
                    if not gathered:
                        continue
                    await self._require_log(first_offset)
                    await self._retry(partial(self._insert_batch, gathered, producer), stop)
                    await consumer.commit(
                        {partition: partition_records[-1].offset + 1 for partition, partition_records in gathered.items()}
                    )
            finally:
                await consumer.aclose()
        finally:
            await producer.aclose()

    async def _require_log(self, first_offset: int) -> None:
        """Check, after records were read, that Kafka still has the log by whose `first_offset` they have their offsets.

        Raises AnotherLog, which ends the session: the records are not inserted.
        """
        await self._bus.ping()
        if self._bus.first_offset != first_offset:
            raise AnotherLog("another log was adopted meanwhile: its records are read anew")

    async def _gather(self, consumer: Consumer, stop: asyncio.Event) -> dict[Partition, list[Record]]:
        """Read until there are enough records for a block, or the first of them has waited for consumer_batch_ms."""
        gathered: dict[Partition, list[Record]] = {}
        count, loop = 0, asyncio.get_running_loop()
        deadline = loop.time() + _IDLE_POLL_MS / 1_000
        while count < self._settings.consumer_batch_rows and not stop.is_set():
            wait_ms = int((deadline - loop.time()) * 1_000)
            if wait_ms <= 0:
                break
            polled = await consumer.poll(wait_ms, self._settings.consumer_batch_rows - count)
            for partition, records in polled.items():
                if not records or not await self._ensure_position(consumer, partition, records[0].offset):
                    continue
                if not count:
                    deadline = loop.time() + self._settings.consumer_batch_ms / 1_000
                gathered.setdefault(partition, []).extend(records)
                count += len(records)
        return gathered

    async def _ensure_position(self, consumer: Consumer, partition: Partition, first_offset: int) -> bool:
        """Return true when a partition may be read from `first_offset` on, false after a seek back to an earlier offset.

        Each partition is checked once in a session: from then on this group commits to Kafka only what ClickHouse has saved.
        """
        if partition in self._positioned:
            return True
        stored = (await self._writer.positions(self._topic)).get(partition.number, 0)
        start = max(stored, (await self._bus.start_offsets(self._topic)).get(partition.number, 0))
        self._positioned.add(partition)
        if start >= first_offset:
            return True
        log.warning("rewound", topic=self._topic, partition=partition.number, stored=start, committed=first_offset)
        await consumer.seek(partition, start)
        return False

    async def _insert_batch(self, gathered: Mapping[Partition, list[Record]], producer: Producer) -> None:
        """Store a batch. Raises Transient for every fault: what no retry cures waits for an operator, and ends no other feed."""
        try:
            await self._store(gathered, producer)
        except Permanent as error:
            raise Transient(f"{error}: nothing is lost, and it is tried again until it is corrected") from error

    async def _store(self, gathered: Mapping[Partition, list[Record]], producer: Producer) -> None:
        records = [record for partition_records in gathered.values() for record in partition_records]
        now_ms = self._clock.now_ms()
        batch = self._feed.decide(records, self._settings, now_ms)
        quarantine_records = await insert_batch(self._writer, batch, self._settings, now_ms, self._count_insert)
        # Before the position is saved: a crash in between publishes them again, under the same ids.
        if quarantine_records:
            await producer.send(quarantine_records)
        await self._writer.save_positions(
            self._topic, {partition.number: records[-1].offset + 1 for partition, records in gathered.items()}
        )

    def _count_insert(self, insert: TableInsert) -> None:
        self._metrics.observe("onefold_insert_seconds", insert.seconds, table=insert.table.name)
        self._metrics.count("onefold_rows_inserted_total", insert.stored, table=insert.table.name)
        if insert.refused:
            self._metrics.count("onefold_rows_refused_total", insert.refused, table=insert.table.name)
            log.error("rows_refused", table=insert.table.name, rows=insert.refused, error=insert.detail)

    async def _retry(self, call: Callable[[], Awaitable[T]], stop: asyncio.Event) -> T:
        """Return what `call` returns, trying again while it raises Transient. Raises Stopped once `stop` is set.

        `run` calls this for whole sessions, and each session calls it for its inserts. `healthy` is true when the session has made
        progress since its last fault: then the waits start short again, and a session that worked for hours is reopened soon.
        """

        def note_retry(attempt: int, error: Transient) -> None:
            self.healthy = False
            self._metrics.count("onefold_retries_total", where=self.name)
            log.warning("retrying", consumer=self.name, attempt=attempt, error=str(error))

        result = await retry_until_stopped(
            call,
            stop,
            base_ms=self._retry_base_ms,
            max_ms=RETRY_MAX_MS,
            on_retry=note_retry,
            reset_when=lambda: self.healthy,
        )
        self.healthy = True
        return result
