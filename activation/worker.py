"""One destination's worker: its own consumer group on `memberships` and `retries`, so that a slow destination stalls no other.

A record of `memberships` counts as handled when its message was delivered, was skipped, or waits durably in `retries`. So a message
that waits, for up to days, holds back no commit and no message of another profile; it only holds back the later ones of its own.
A group without commits starts at the earliest record, so transitions from before the worker's first start are delivered too.
Nothing is ever committed on `retries`: a worker reads its partitions of it from the earliest record (see `retry_log`).

Example: `entered` (offset 7) and `exited` (offset 9) of profile A, and `entered` (offset 8) of profile B. The receiver answers 503
to A's first message. It is written to `retries`, then 9 as well, behind it, while B's message is delivered. The committed position
is 10. The process is killed. The next worker finds 7 and 9 in `retries`, and sends 7, then 9.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from activation.deliverer import Deliverer
from activation.port import Channel
from activation.retry_log import RetryLog
from activation.retry_loop import RetryLoop
from activation.schedule import Schedule
from activation.session import IN_FLIGHT_PER_SLOT, DeliverySession
from domain.definitions.kinds import Destination as DestinationDefinition
from profile_store.port import ProfileStore
from runtime.bus.port import Bus, Consumer, Producer
from runtime.clock import Clock
from runtime.errors import OnefoldError, Transient
from runtime.logs import get_logger
from runtime.metrics import Metrics
from runtime.retry import Backoff, retry_until_stopped
from runtime.settings import Settings

T = TypeVar("T")
RETRY_BASE_MS: Final = 400
RETRY_MAX_MS: Final = 10_000

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
        self._rng = random.Random()  # noqa: S311 - jitter, not a secret
        self._session_backoff = Backoff(RETRY_BASE_MS, RETRY_MAX_MS, self._rng)
        self._slots = asyncio.Semaphore(definition.spec.concurrency)
        self._stop = asyncio.Event()
        self._session: DeliverySession | None = None

    @property
    def name(self) -> str:
        """The destination's name."""
        return self._definition.metadata.name

    @property
    def waiting_count(self) -> int:
        """How many messages wait for another attempt, in the partitions that this worker has."""
        return 0 if self._session is None else len(self._session.schedule)

    @property
    def last_problem(self) -> str:
        """What the latest attempt met that did not succeed; empty after one that did."""
        return "" if self._session is None else self._session.deliverer.last_problem

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set, then close the channel.

        A fault of the broker, and a bug too, ends the session and begins a new one, which reads again what was not committed.
        """
        self._stop = stop
        try:
            while not stop.is_set():
                try:
                    await self._run_as_member()
                except* OnefoldError as errors:
                    log.warning("session_failed", destination=self.name, error=str(errors.exceptions[0]), exc_info=True)
                except* Exception:
                    log.exception("session_failed", destination=self.name)
                await self._pause(self._session_backoff.next_ms())
        finally:
            await self._channel.aclose()

    async def _run_as_member(self) -> None:
        """Deliver as a member of the consumer group until the process stops or a fault ends the session."""
        producer = await self._bus.producer()
        try:
            retry_partitions = len(await self._bus.end_offsets(self._settings.topic("retries")))
            group = self._settings.group(f"activation.{self.name}")
            consumer = await self._bus.consumer(group, [self._settings.topic("memberships"), self._settings.topic("retries")])
            try:
                while not self._stop.is_set():  # a session for each assignment of partitions
                    self._session = self._open_session(consumer, producer, retry_partitions)
                    await self._session.run()
            finally:
                await consumer.aclose()
        finally:
            await producer.aclose()

    def _open_session(self, consumer: Consumer, producer: Producer, retry_partitions: int) -> DeliverySession:
        schedule = Schedule()
        retry_log = RetryLog(self._settings, self.name, schedule, retry_partitions)
        deliverer = Deliverer(
            settings=self._settings, definition=self._definition, channel=self._channel, store=self._store, clock=self._clock,
            metrics=self._metrics, producer=producer, schedule=schedule, retry_log=retry_log, slots=self._slots, rng=self._rng,
            persist=self._retry,
        )  # fmt: skip
        retry_loop = RetryLoop(schedule, deliverer, self._clock, self._stop, max(1, self._definition.spec.concurrency // 2))
        return DeliverySession(
            settings=self._settings, consumer=consumer, producer=producer, schedule=schedule, retry_log=retry_log,
            deliverer=deliverer, retry_loop=retry_loop, persist=self._retry, stop=self._stop, on_commit=self._session_backoff.reset,
            max_in_flight=self._definition.spec.concurrency * IN_FLIGHT_PER_SLOT,
        )  # fmt: skip

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
