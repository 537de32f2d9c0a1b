"""What happens to one message: the first attempt with a transition, the later attempts with what waits, and their records.

Delivery is at least once. A message that ends is published to `deliveries`, then settled in the store, then removed from `retries`.
One that must wait is written to `retries` before its transition counts as handled. So a crash between any two steps repeats an
attempt, with the same id and the same body, and loses none.

The messages of one profile keep their order: while one waits, the later ones are written to `retries` behind it
without an attempt.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final, Protocol, TypeVar

from activation import delivery_records as records
from activation.delivery_attempts import DeliveryOutcome, Postponed, judge_attempt
from activation.policy import decide
from activation.port import AttemptResult, Channel, Message, Retry
from activation.retry_log import RetryLog
from activation.schedule import Schedule, Waiting
from activation.webhook_message import render
from domain.definitions.kinds import Destination as DestinationDefinition
from profile_store.port import ProfileStore
from runtime.bus.port import Outgoing, Producer, Record
from runtime.clock import Clock
from runtime.metrics import Metrics
from runtime.settings import Settings
from schemas.codec import Undecodable, decode, encode
from schemas.records import DeliveryState, Transition

T = TypeVar("T")
SETTLED_TTL_MS: Final = 30 * 86_400_000
"""As long as `memberships` keeps its records: a record that is read again later finds its message settled."""


class PersistentCall(Protocol):
    """Calls until the call succeeds. Raises Stopped when the process is to stop first."""

    async def __call__(self, call: Callable[[], Awaitable[T]]) -> T: ...


class Deliverer:
    """Delivers the messages of one destination within one session of its worker."""

    def __init__(
        self, *, settings: Settings, definition: DestinationDefinition, channel: Channel, store: ProfileStore, clock: Clock,
        metrics: Metrics, producer: Producer, schedule: Schedule, retry_log: RetryLog, slots: asyncio.Semaphore,
        rng: random.Random, persist: PersistentCall,
    ) -> None:  # fmt: skip
        self._settings = settings
        self._definition = definition
        self._name = definition.metadata.name
        self._channel = channel
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._producer = producer
        self._schedule = schedule
        self._retry_log = retry_log
        self._slots = slots
        self._rng = rng
        self._persist = persist
        self.last_problem = ""
        """What the last attempt met that did not succeed; empty after one that did."""

    async def handle(self, record: Record) -> None:
        """Take a record of `memberships` to its end: deliver it, let it wait, skip or quarantine it.

        Raises Stopped when the process is to stop first.
        """
        if record.value is None:
            return
        try:
            transition = decode(Transition, record.value)
        except Undecodable as error:
            await self.quarantine(record, error)
            return
        verdict = decide(transition, self._definition)
        if verdict is None:
            return
        message = render(transition, self._definition)
        if verdict.action == "skip":
            skipped = DeliveryOutcome("skipped", verdict.reason, attempts=0, status=0, detail="")
            await self._publish_outcome(transition, message, skipped)
            return
        if not await self._persist(lambda: self._store.is_delivery_open(message.key)):
            return  # settled by an attempt whose commit was lost
        now_ms = self._clock.now_ms()
        waiting = Waiting(
            key=message.key,
            profile_id=transition.profile_id,
            partition=self._retry_log.partition_for(record.partition),
            offset=record.offset,
            transition=encode(transition),
            attempts=0,
            since_ms=now_ms,
            due_ms=now_ms,
        )
        if self._schedule.get(message.key) is not None:
            return  # it waits already: the commit behind its record was lost
        if self._schedule.has_waiting(waiting.partition, waiting.profile_id):
            await self._let_wait(waiting, transition, message, "in_order", 0, "")
            return
        await self._attempt(waiting, transition, message)

    async def try_again(self, waiting: Waiting) -> None:
        """Make the next attempt with a message that is due. Raises Stopped when the process is to stop first."""
        if await self._persist(lambda: self._store.is_delivery_open(_settlement_key(waiting))):
            transition = decode(Transition, waiting.transition)
            await self._attempt(waiting, transition, render(transition, self._definition))
        else:  # a crash came between its settlement and its removal
            await self._end_waiting(waiting)

    async def quarantine(self, record: Record, error: Undecodable) -> None:
        """Put a record that cannot be decoded into quarantine."""
        await self._publish([records.to_quarantine(self._settings, record, error, self._name, self._clock.now_ms())])

    async def _attempt(self, waiting: Waiting, transition: Transition, message: Message) -> None:
        async with self._slots:
            started = time.monotonic()
            result = await self._channel.deliver(message)
            self._metrics.observe("onefold_delivery_attempt_seconds", time.monotonic() - started, destination=self._name)
        self._note_result(result)
        now_ms = self._clock.now_ms()
        judged = judge_attempt(result, waiting.attempts + 1, now_ms - waiting.since_ms, self._definition.spec.retry, self._rng)
        if isinstance(judged, Postponed):
            postponed = replace(waiting, attempts=judged.attempts, due_ms=now_ms + judged.wait_ms)
            await self._let_wait(postponed, transition, message, "due", judged.status, judged.detail)
            return
        # Published before it is settled: a crash between the two repeats the message, while the other order could lose the record.
        await self._publish_outcome(transition, message, judged)
        await self._persist(lambda: self._store.settle_delivery(_settlement_key(waiting), SETTLED_TTL_MS))
        if waiting.attempts or self._schedule.get(waiting.key) is not None:
            await self._end_waiting(waiting)

    def _note_result(self, result: AttemptResult) -> None:
        self.last_problem = getattr(result, "detail", "")
        if isinstance(result, Retry):
            self._metrics.count("onefold_retries_total", where=f"destination {self._name}")

    async def _let_wait(
        self, waiting: Waiting, transition: Transition, message: Message, verdict: str, status: int, detail: str
    ) -> None:
        """Write that a message waits, and have it tried again by the worker that has its partition."""
        delivery = records.build_delivery(
            transition, message, self._name, "waiting", verdict, at_ms=self._clock.now_ms(), attempts=waiting.attempts,
            status=status, detail=detail, next_ms=waiting.due_ms if verdict == "due" else 0,
        )  # fmt: skip
        await self._publish(
            [self._retry_log.to_record(waiting, transition, status, detail), records.to_outgoing(self._settings, delivery)]
        )
        if self._retry_log.has_partition(waiting.partition):
            self._schedule.put(waiting)

    async def _end_waiting(self, waiting: Waiting) -> None:
        await self._publish([self._retry_log.to_end(waiting)])
        self._schedule.remove(waiting.key)

    async def _publish_outcome(self, transition: Transition, message: Message, outcome: DeliveryOutcome) -> None:
        now_ms = self._clock.now_ms()
        delivery = records.build_delivery(
            transition, message, self._name, outcome.state, outcome.verdict,
            at_ms=now_ms, attempts=outcome.attempts, status=outcome.status, detail=outcome.detail,
        )  # fmt: skip
        await self._publish([records.to_outgoing(self._settings, delivery)])
        self._count(outcome.state, now_ms - transition.evaluated_ms)

    def _count(self, state: DeliveryState, elapsed_ms: int) -> None:
        self._metrics.count("onefold_deliveries_total", destination=self._name, state=state)
        if state == "delivered":
            self._metrics.observe("onefold_event_to_delivery_seconds", max(elapsed_ms, 0) / 1000)

    async def _publish(self, outgoing: Sequence[Outgoing]) -> None:
        await self._persist(lambda: self._producer.send(outgoing))


def _settlement_key(waiting: Waiting) -> str:
    """Return the key under which the message is settled: one that a person sends again has another one for each request."""
    return f"{waiting.key}:{waiting.resent_ms}" if waiting.resent_ms else waiting.key
