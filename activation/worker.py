"""One destination's worker: its own consumer group on `memberships`, so that a slow destination stalls no other.

Delivery is at least once. The steps of one message are: ask the store whether it is still open, deliver it, publish the delivery,
settle it in the store, commit the offset. A crash between any two steps repeats the message with the same id and the same body, so
that the receiver can drop the repetition.

The messages of one profile keep their order: a message that is tried again holds back the later ones of its profile, and no others.
A group without commits starts at the earliest record, so transitions from before the worker's first start are delivered too.

Example: `entered` (offset 7) and `exited` (offset 9) of profile A, and `entered` (offset 8) of profile B. The receiver answers 503
to A's first message. B's message is delivered meanwhile and A's second one waits. The committed position stays 7 until A's
first message has ended, so after a crash B's record is read again, and the store answers that its message is settled.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from activation import delivery_records as records
from activation.delivery_attempts import DeliveryOutcome, deliver_with_retries
from activation.keyed_executor import KeyedExecutor
from activation.offset_tracker import OffsetTracker
from activation.policy import decide
from activation.port import AttemptResult, Channel, Message, Retry
from activation.webhook_message import render
from domain.definitions.kinds import Destination as DestinationDefinition
from profile_store.port import ProfileStore
from runtime.bus.port import Bus, Consumer, Outgoing, Partition, Producer, Record
from runtime.clock import Clock
from runtime.errors import OnefoldError, Transient
from runtime.logs import get_logger
from runtime.metrics import Metrics
from runtime.retry import Backoff, Stopped, retry_until_stopped
from runtime.settings import Settings
from schemas.codec import Undecodable, decode
from schemas.records import DeliveryState, Transition

T = TypeVar("T")
SETTLED_TTL_MS: Final = 30 * 86_400_000
"""As long as `memberships` keeps its records: a record that is read again later finds its message settled."""
IN_FLIGHT_PER_SLOT: Final = 64
"""Records under way for each attempt that may run at once: enough that one slow profile does not leave the others idle."""
GRACE_S: Final = 5.0
"""How long messages under way may still end after the process was told to stop."""
RETRY_BASE_MS: Final = 400
RETRY_MAX_MS: Final = 10_000
_POLL_MS: Final = 500
_MAX_POLL_RECORDS: Final = 500

log: Final = get_logger(__name__)


class Worker:
    """Delivers the transitions that one destination asks for. Everything it uses is passed in, so tests can run it on twins."""

    def __init__(
        self, settings: Settings, bus: Bus, store: ProfileStore, clock: Clock, metrics: Metrics,
        definition: DestinationDefinition, channel: Channel,
    ) -> None:  # fmt: skip
        self._settings = settings
        self._bus = bus
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._definition = definition
        self._channel = channel
        self._topic = settings.topic("memberships")
        self._rng = random.Random()  # noqa: S311 - jitter, not a secret
        self._session_backoff = Backoff(RETRY_BASE_MS, RETRY_MAX_MS, self._rng)
        self._slots = asyncio.Semaphore(definition.spec.concurrency)
        self._max_in_flight = definition.spec.concurrency * IN_FLIGHT_PER_SLOT
        self._stop = asyncio.Event()

    @property
    def name(self) -> str:
        """The destination's name."""
        return self._definition.metadata.name

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set, then close the channel.

        A fault of the broker, and a bug too, ends the session and begins a new one, which reads again what was not committed.
        """
        self._stop = stop
        try:
            while not stop.is_set():
                try:
                    await self._session()
                except* OnefoldError as errors:
                    log.warning("session_failed", destination=self.name, error=str(errors.exceptions[0]), exc_info=True)
                except* Exception:
                    log.exception("session_failed", destination=self.name)
                await self._pause(self._session_backoff.next_ms())
        finally:
            await self._channel.aclose()

    async def _session(self) -> None:
        """Deliver as a member of the consumer group until the process stops or a fault ends the session."""
        producer = await self._bus.producer()
        try:
            consumer = await self._bus.consumer(self._settings.group(f"activation.{self.name}"), [self._topic])
            try:
                await self._work(consumer, producer)
            finally:
                await consumer.aclose()
        finally:
            await producer.aclose()

    async def _work(self, consumer: Consumer, producer: Producer) -> None:
        tracker = OffsetTracker()
        executor = KeyedExecutor(lambda partition, record: self._handle(record, producer, tracker, partition))
        polled_s = committed_s = time.monotonic()
        try:
            while not self._stop.is_set():
                executor.raise_failure()
                if time.monotonic() - committed_s > self._settings.commit_interval_ms / 1000:
                    await self._commit(consumer, tracker)
                    committed_s = time.monotonic()
                is_full = tracker.in_flight_count >= self._max_in_flight
                # Kafka takes the partitions of a member that does not poll away after max_slice_ms. So a full worker waits for its
                # messages at most a third of that, and then polls to show that it lives.
                if is_full and time.monotonic() - polled_s < self._settings.max_slice_ms / 3000:
                    await executor.wait_for_progress(_POLL_MS / 1000)
                    continue
                await self._poll(consumer, tracker, executor, keep_alive_only=is_full)
                polled_s = time.monotonic()
            await executor.finish(GRACE_S)
        finally:
            await executor.cancel()
        await self._commit(consumer, tracker)

    async def _poll(self, consumer: Consumer, tracker: OffsetTracker, executor: KeyedExecutor, *, keep_alive_only: bool) -> None:
        """Submit the records of one poll. With `keep_alive_only` they are read again later: the poll only shows a living member."""
        for partition, polled in (await consumer.poll(_POLL_MS, 1 if keep_alive_only else _MAX_POLL_RECORDS)).items():
            if keep_alive_only:
                await consumer.seek(partition, polled[0].offset)
                continue
            for record in polled:
                if tracker.begin(partition, record.offset):
                    executor.submit(partition, record)

    async def _commit(self, consumer: Consumer, tracker: OffsetTracker) -> None:
        if not (offsets := tracker.committable()):
            return
        try:
            await self._retry(lambda: consumer.commit(offsets))
        except Stopped:
            return  # the next start repeats what was not committed; the store knows what was delivered
        tracker.mark_committed(offsets)
        self._session_backoff.reset()

    async def _handle(self, record: Record, producer: Producer, tracker: OffsetTracker, partition: Partition) -> bool:
        """Take one record to its end; return false when the process is to stop first."""
        if self._stop.is_set():
            return False
        try:
            await self._process(record, producer)
        except Stopped:
            return False
        tracker.end(partition, record.offset)
        return True

    async def _process(self, record: Record, producer: Producer) -> None:
        """Take one record to its end: deliver, skip or quarantine it. Raises Stopped when the process is to stop first."""
        if record.value is None:
            return
        try:
            transition = decode(Transition, record.value)
        except Undecodable as error:
            quarantine_record = records.to_quarantine(self._settings, record, error, self.name, self._clock.now_ms())
            await self._publish(producer, quarantine_record)
            return
        verdict = decide(transition, self._definition)
        if verdict is None:
            return
        message = render(transition, self.name)
        if verdict.action == "skip":
            skipped = DeliveryOutcome("skipped", verdict.reason, attempts=0, status=0, detail="")
            await self._publish_delivery(producer, transition, message, skipped)
            return
        if not await self._retry(lambda: self._store.is_delivery_open(message.key)):
            return  # settled by an attempt whose commit was lost
        outcome = await deliver_with_retries(
            message, self._attempt, retry=self._definition.spec.retry, clock=self._clock, pause=self._pause, rng=self._rng
        )
        # Published before it is settled: a crash between the two repeats the message, while the other order could lose the record.
        await self._publish_delivery(producer, transition, message, outcome)
        await self._retry(lambda: self._store.settle_delivery(message.key, SETTLED_TTL_MS))

    async def _attempt(self, message: Message) -> AttemptResult:
        async with self._slots:
            started = time.monotonic()
            result = await self._channel.deliver(message)
            self._metrics.observe("onefold_delivery_attempt_seconds", time.monotonic() - started, destination=self.name)
        if isinstance(result, Retry):
            self._metrics.count("onefold_retries_total", where=f"destination {self.name}")
        return result

    async def _publish_delivery(
        self, producer: Producer, transition: Transition, message: Message, outcome: DeliveryOutcome
    ) -> None:
        now_ms = self._clock.now_ms()
        delivery = records.build_delivery(
            transition, message, self.name, outcome.state, outcome.verdict,
            at_ms=now_ms, attempts=outcome.attempts, status=outcome.status, detail=outcome.detail,
        )  # fmt: skip
        await self._publish(producer, records.to_outgoing(self._settings, delivery))
        self._count(outcome.state, now_ms - transition.evaluated_ms)

    def _count(self, state: DeliveryState, elapsed_ms: int) -> None:
        self._metrics.count("onefold_deliveries_total", destination=self.name, state=state)
        if state == "delivered":
            self._metrics.observe("onefold_event_to_delivery_seconds", max(elapsed_ms, 0) / 1000)

    async def _publish(self, producer: Producer, record: Outgoing) -> None:
        await self._retry(lambda: producer.send([record]))

    async def _retry(self, call: Callable[[], Awaitable[T]]) -> T:
        """Return what `call` returns, trying again while it raises Transient. Raises Stopped when the process is to stop first."""

        def note_retry(attempt: int, error: Transient) -> None:
            self._metrics.count("onefold_retries_total", where="activation")
            log.warning("retrying", destination=self.name, attempt=attempt, error=str(error))

        return await retry_until_stopped(
            call, self._stop, base_ms=RETRY_BASE_MS, max_ms=RETRY_MAX_MS, rng=self._rng, on_retry=note_retry
        )

    async def _pause(self, wait_ms: int) -> bool:
        """Wait; return false, at once, when the process is to stop."""
        try:
            await asyncio.wait_for(self._stop.wait(), wait_ms / 1000)
        except TimeoutError:
            return True
        return False
