"""One session of a worker: from one assignment of partitions to the next it polls, hands out, and commits."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from activation.deliverer import Deliverer, PersistentCall
from activation.keyed_executor import KeyedExecutor
from activation.offset_tracker import OffsetTracker
from activation.retry_log import RetryLog
from activation.retry_loop import RetryLoop
from activation.schedule import Schedule
from runtime.bus.port import Consumer, Partition, Producer, Record
from runtime.retry import Stopped
from runtime.settings import Settings
from schemas.codec import Undecodable

IN_FLIGHT_PER_SLOT: Final = 64
"""Records under way for each attempt that may run at once: enough that one slow profile does not leave the others idle."""
MAX_WAITING_BYTES: Final = 256 * 1024 * 1024
"""The most memory for messages that wait, some hundred thousand. Above it the worker reads no new transitions, which Kafka has."""
GRACE_S: Final = 5.0
"""How long messages under way may still end after the process was told to stop."""
_POLL_MS: Final = 500
_MAX_POLL_RECORDS: Final = 500


class DeliverySession:
    """Everything that a worker knows for as long as the same partitions are assigned to it."""

    def __init__(
        self, *, settings: Settings, consumer: Consumer, producer: Producer, schedule: Schedule, retry_log: RetryLog,
        deliverer: Deliverer, retry_loop: RetryLoop, persist: PersistentCall, stop: asyncio.Event, on_commit: Callable[[], None],
        max_in_flight: int,
    ) -> None:  # fmt: skip
        self.schedule = schedule
        self.deliverer = deliverer
        self._settings = settings
        self._consumer = consumer
        self._producer = producer
        self._retry_log = retry_log
        self._retry_loop = retry_loop
        self._persist = persist
        self._stop = stop
        self._on_commit = on_commit
        self._max_in_flight = max_in_flight
        self._tracker = OffsetTracker()
        self._generation = consumer.generation

    async def run(self) -> None:
        """Deliver until the process stops, or until partitions are assigned anew. Raises what ends the session.

        After a new assignment nothing that was begun may go on: the partitions are read again from what is committed, and another
        worker may have some of them. What was under way is repeated.
        """
        executor = KeyedExecutor(self._handle)
        retrying = asyncio.create_task(self._retry_loop.run(), name="retry loop")
        try:
            await self._mark_partitions()
            await self._poll_until_stopped(executor, retrying)
            if self._stop.is_set():
                await asyncio.gather(executor.finish(GRACE_S), asyncio.wait({retrying}, timeout=GRACE_S))
        except Stopped:
            return
        finally:
            retrying.cancel()
            await asyncio.gather(executor.cancel(), retrying, return_exceptions=True)
        await self._commit()

    async def _mark_partitions(self) -> None:
        markers = self._retry_log.markers(self._consumer.assigned())
        if markers:
            self._retry_log.note_markers(await self._persist(lambda: self._producer.send(markers)))

    async def _poll_until_stopped(self, executor: KeyedExecutor, retrying: asyncio.Task[None]) -> None:
        polled_s = committed_s = time.monotonic()
        while not self._stop.is_set() and not self._is_over():
            executor.raise_failure()
            if retrying.done():
                await retrying
                return  # the process stops
            if time.monotonic() - committed_s > self._settings.commit_interval_ms / 1000:
                await self._commit()
                committed_s = time.monotonic()
            is_full = self._tracker.in_flight_count >= self._max_in_flight or self.schedule.bytes >= MAX_WAITING_BYTES
            # Kafka takes the partitions of a member that does not poll away after max_slice_ms. So a full worker waits for its
            # messages at most a third of that, and then polls to show that it lives.
            if is_full and time.monotonic() - polled_s < self._settings.max_slice_ms / 3000:
                await executor.wait_for_progress(_POLL_MS / 1000)
                continue
            await self._poll(executor, is_full=is_full)
            polled_s = time.monotonic()

    def _is_over(self) -> bool:
        return self._consumer.generation != self._generation

    async def _poll(self, executor: KeyedExecutor, *, is_full: bool) -> None:
        """Apply the records of `retries` and submit those of `memberships`, unless they must be read again later."""
        for partition, records in (await self._consumer.poll(_POLL_MS, _MAX_POLL_RECORDS)).items():
            is_retry = partition.topic == self._retry_log.topic
            if self._is_over() or (not is_retry and (is_full or not self._retry_log.may_send(partition.number))):
                await self._consumer.seek(partition, records[0].offset)
            elif is_retry:
                await self._apply(records)
            else:
                for record in records:
                    if self._tracker.begin(partition, record.offset):
                        executor.submit(partition, record)

    async def _apply(self, records: Sequence[Record]) -> None:
        for record in records:
            try:
                self._retry_log.apply(record)
            except Undecodable as error:
                await self.deliverer.quarantine(record, error)

    async def _commit(self) -> None:
        offsets: Mapping[Partition, int] = self._tracker.committable()
        if not offsets or self._is_over():
            return
        try:
            await self._persist(lambda: self._consumer.commit(offsets))
        except Stopped:
            return  # the next start repeats what was not committed; the store knows what was delivered
        self._tracker.mark_committed(dict(offsets))
        self._on_commit()

    async def _handle(self, partition: Partition, record: Record) -> bool:
        """Take one record to its end; return false when the process is to stop first."""
        if self._stop.is_set():
            return False
        try:
            await self.deliverer.handle(record)
        except Stopped:
            return False
        self._tracker.end(partition, record.offset)
        return True
