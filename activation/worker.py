"""One destination's worker: its own consumer group on `memberships`, so that a slow destination stalls no other.

At least once: claim, deliver, say the delivery, settle, commit. A crash between any two of them repeats the message with the same
id and body. A profile's messages keep their order: one that is tried again holds back the later ones of its profile, and no others.
A group without commits starts at the earliest record, so nothing that was said before the worker first ran is lost.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from activation import delivery_records as records
from activation.delivery_attempts import Ended, send
from activation.keyed_executor import Lanes
from activation.webhook_message import render
from activation.policy import decide
from activation.port import Destination, Message, Result, Retry
from activation.offset_tracker import Progress
from profile_store.port import ProfileStore
from runtime.bus.port import Bus, Consumer, Outgoing, Partition, Producer, Record
from runtime.clock import Clock
from runtime.errors import OnefoldError, Transient
from runtime.logs import get_logger
from runtime.metrics import Metrics
from runtime.retry import backoff_ms
from runtime.settings import Settings
from schemas.codec import Undecodable, decode
from schemas.records import DeliveryState, Transition
from domain.definitions.kinds import Destination as Definition

T = TypeVar("T")
SETTLED_MS: Final = 30 * 86_400_000
"""As long as `memberships` keeps its records: none of them can be sent twice after it was settled."""
WAITING_PER_SLOT: Final = 64
GRACE_S: Final = 5.0
PAUSE_MS: Final = 200
LONGEST_PAUSE_MS: Final = 10_000
_POLL_MS: Final = 500
_MOST_POLLED: Final = 500

log: Final = get_logger(__name__)


class Worker:
    """Runs until told to stop; what it needs is given, so it can be run against twins."""

    def __init__(
        self, settings: Settings, bus: Bus, store: ProfileStore, clock: Clock, metrics: Metrics,
        definition: Definition, channel: Destination,
    ) -> None:  # fmt: skip
        self._settings, self._bus, self._store, self._clock, self._metrics = settings, bus, store, clock, metrics
        self._definition, self._channel = definition, channel
        self._topic = settings.topic("memberships")
        self._rng = random.Random()  # noqa: S311 - jitter, not a secret
        self._slots = asyncio.Semaphore(definition.spec.concurrency)
        self._most_waiting = definition.spec.concurrency * WAITING_PER_SLOT
        self._stop = asyncio.Event()

    @property
    def name(self) -> str:
        return self._definition.metadata.name

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set. Faults of the broker and of the store are outlasted; the channel is closed at the end."""
        self._stop, failures = stop, 0
        try:
            while not stop.is_set():
                try:
                    await self._session()
                except* OnefoldError as group:
                    log.warning("session_failed", destination=self.name, error=str(group.exceptions[0]), exc_info=True)
                except* Exception:
                    log.exception("session_failed", destination=self.name)
                failures += 1
                await self._pause(backoff_ms(failures, PAUSE_MS, LONGEST_PAUSE_MS, self._rng))
        finally:
            await self._channel.aclose()

    async def _session(self) -> None:
        """One membership of the group."""
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
        progress = Progress()
        lanes = Lanes(lambda place, record: self._handle(record, producer, progress, place))
        polled = committed = time.monotonic()
        try:
            while not self._stop.is_set():
                lanes.check()
                if time.monotonic() - committed > self._settings.commit_interval_ms / 1000:
                    await self._commit(consumer, progress)
                    committed = time.monotonic()
                full = progress.waiting >= self._most_waiting
                if full and time.monotonic() - polled < self._settings.max_slice_ms / 3000:
                    await lanes.moved(_POLL_MS / 1000)
                    continue
                await self._take(consumer, progress, lanes, only_look=full)
                polled = time.monotonic()
            await lanes.finish(GRACE_S)
        finally:
            await lanes.cancel()
        await self._commit(consumer, progress)

    async def _take(self, consumer: Consumer, progress: Progress, lanes: Lanes, *, only_look: bool) -> None:
        """One poll into the lanes; with `only_look` its record is put back: the group must see that this member lives."""
        for place, found in (await consumer.poll(_POLL_MS, 1 if only_look else _MOST_POLLED)).items():
            if only_look:
                await consumer.seek(place, found[0].offset)
                continue
            for record in found:
                if progress.begin(place, record.offset):
                    lanes.put(place, record)

    async def _commit(self, consumer: Consumer, progress: Progress) -> None:
        if due := progress.due():
            await self._insist(lambda: consumer.commit(due))
            progress.committed(due)

    async def _handle(self, record: Record, producer: Producer, progress: Progress, place: Partition) -> bool:
        """One record to its end; False when the process is to stop first."""
        if self._stop.is_set() or not await self._done(record, producer):
            return False
        progress.end(place, record.offset)
        return True

    async def _done(self, record: Record, producer: Producer) -> bool:
        if record.value is None:
            return True
        try:
            transition = decode(Transition, record.value)
        except Undecodable as error:
            bad = records.quarantined(self._settings, record, error, self.name, self._clock.now_ms())
            return await self._say(producer, bad)
        verdict = decide(transition, self._definition)
        if verdict is None:
            return True
        message = render(transition, self.name)
        if verdict.action == "skip":
            return await self._record(producer, transition, message, Ended("skipped", verdict.reason, 0, 0, ""))
        open_still = await self._insist(lambda: self._store.claim_delivery(message.key))
        if open_still is None:
            return False
        if not open_still:
            return True
        ended = await send(message, self._attempt, self._definition.spec.retry, self._clock, self._pause, self._rng)
        if ended is None or not await self._record(producer, transition, message, ended):
            return False
        return await self._insist(lambda: _told(self._store.settle_delivery(message.key, SETTLED_MS))) is not None

    async def _attempt(self, message: Message) -> Result:
        async with self._slots:
            started = time.monotonic()
            result = await self._channel.deliver(message)
            self._metrics.observe("onefold_delivery_attempt_seconds", time.monotonic() - started, destination=self.name)
        if isinstance(result, Retry):
            self._metrics.count("onefold_retries_total", where=f"destination {self.name}")
        return result

    async def _record(self, producer: Producer, transition: Transition, message: Message, ended: Ended) -> bool:
        now_ms = self._clock.now_ms()
        said = records.delivery(
            transition, message, self.name, ended.state, ended.verdict,
            at_ms=now_ms, attempts=ended.attempts, status=ended.status, detail=ended.detail,
        )  # fmt: skip
        if not await self._say(producer, records.outgoing(self._settings, said)):
            return False
        self._count(ended.state, now_ms - transition.evaluated_ms)
        return True

    def _count(self, state: DeliveryState, took_ms: int) -> None:
        self._metrics.count("onefold_deliveries_total", destination=self.name, state=state)
        if state == "delivered":
            self._metrics.observe("onefold_event_to_delivery_seconds", max(took_ms, 0) / 1000)

    async def _say(self, producer: Producer, record: Outgoing) -> bool:
        return await self._insist(lambda: producer.send([record])) is not None

    async def _insist(self, call: Callable[[], Awaitable[T]]) -> T | None:
        """What `call` returns, tried again for as long as the fault may pass; None when the process is to stop first."""
        failures = 0
        while True:
            try:
                return await call()
            except Transient as error:
                failures += 1
                self._metrics.count("onefold_retries_total", where="activation")
                log.warning("retry", destination=self.name, error=str(error))
            if not await self._pause(backoff_ms(failures, PAUSE_MS, LONGEST_PAUSE_MS, self._rng)):
                return None

    async def _pause(self, wait_ms: int) -> bool:
        """Wait; False when the process is to stop first."""
        try:
            await asyncio.wait_for(self._stop.wait(), wait_ms / 1000)
        except TimeoutError:
            return True
        return False


async def _told(call: Awaitable[None]) -> bool:
    await call
    return True
