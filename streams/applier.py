"""The one place where outcomes become effects: load, decide, save, send; the caller acknowledges after that."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from typing import Final

from profile_store.port import ProfileStore, TopicPartition
from runtime.bus.port import Outgoing, Producer, Record
from runtime.clock import Clock
from runtime.errors import Misconfigured, Permanent, StateLost, Transient
from runtime.logs import get_logger
from runtime.retry import Backoff, Stopped, retry_until_stopped
from runtime.settings import Settings
from schemas.codec import encode
from schemas.instants import NEVER
from schemas.quarantine import build_quarantine_record
from schemas.reasons import Reason
from streams import metrics
from streams.assigned_partitions import AssignedPartitions
from streams.failed_slices import FailedSlices
from streams.outcome import Outcome
from streams.step import Step

log: Final = get_logger(__name__)
_JITTER: Final = random.Random()  # noqa: S311 - jitter, not a secret

RETRY_BASE_MS: Final = 50
RETRY_MAX_MS: Final = 5_000
PAUSE_POLL_S: Final = 0.2
CONFLICTS_BEFORE_WAITING: Final = 5
"""Refusals and lost races of one slice, each decided anew at once, before it waits as for a fault that may pass."""


class ExitCode(IntEnum):
    """Why a stream process ends; its supervisor starts it again."""

    STOPPED = 0
    MISCONFIGURED = 2
    STATE_LOST = 3
    BUG = 4
    CONSUMER = 5


Stop = Callable[[ExitCode], None]
Decide = Callable[[], Awaitable[Outcome]]
IsCurrent = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class SavedOutcome:
    """An outcome that is in the store, and when its decision began."""

    outcome: Outcome
    decided_ms: int


class Applier:
    """Applies slices of one agent. Never raises for what a slice or a store does: it retries, quarantines, or stops the process.

    `store` is None for a step that keeps no state. `stop` is told why the process must start again.
    """

    def __init__(
        self,
        settings: Settings,
        step: Step,
        *,
        assigned: AssignedPartitions,
        store: ProfileStore | None,
        producer: Producer,
        clock: Clock,
        stop: Stop,
    ) -> None:
        self._settings = settings
        self._step = step
        self._assigned = assigned
        self._store = store
        self._producer = producer
        self._clock = clock
        self._stop = stop
        self._failures = FailedSlices(settings.data_dir / "streams" / step.name / "failed.json")

    async def apply(self, topic_partition: TopicPartition, records: Sequence[Record], is_current: IsCurrent) -> bool:
        """Whether the slice is done and may be acknowledged. `is_current` says whether it is still this worker's to do."""
        started = time.monotonic()
        completed = await self._run_guarded(
            topic_partition, records, is_current, lambda error: self._handle_bug(topic_partition, records, is_current, error)
        )
        if completed:
            self._failures.forget(records)
            metrics.observe_slice(self._step.name, len(records), time.monotonic() - started)
        return completed

    async def _run_guarded(
        self,
        topic_partition: TopicPartition,
        records: Sequence[Record],
        is_current: IsCurrent,
        on_bug: Callable[[Exception], Awaitable[bool]],
    ) -> bool:
        try:
            return await self._apply_until_durable(
                topic_partition, lambda: self._step.run(topic_partition, records, self._clock.now_ms()), records, is_current
            )
        except StateLost as error:
            if is_current():
                self._give_up(ExitCode.STATE_LOST, "state_lost", topic_partition, records, error)
        except Misconfigured as error:
            self._give_up(ExitCode.MISCONFIGURED, "misconfigured", topic_partition, records, error)
        except Exception as error:  # noqa: BLE001 - whatever a bug raises must not reach Faust, which would take the slice for done
            return await on_bug(error)
        return False

    def _give_up(
        self, code: ExitCode, action: str, topic_partition: TopicPartition, records: Sequence[Record], error: Exception
    ) -> None:
        log.error(
            action,
            stage=self._step.name,
            topic_partition=topic_partition.guard_name,
            offset=records[0].offset,
            exit_code=code.name.lower(),
            exc_info=error,
        )
        self._stop(code)

    async def _handle_bug(
        self, topic_partition: TopicPartition, records: Sequence[Record], is_current: IsCurrent, error: Exception
    ) -> bool:
        """A bug: the first time the process starts again, the second time the records are taken one by one."""
        if not self._failures.has(records):
            self._failures.add(records)
            self._give_up(ExitCode.BUG, "slice_failed", topic_partition, records, error)
            return False
        for record in records:
            single_record = [record]
            if not await self._run_guarded(
                topic_partition,
                single_record,
                is_current,
                partial(self._quarantine_poison, topic_partition, single_record, is_current),
            ):
                return False
        return True

    async def _quarantine_poison(
        self, topic_partition: TopicPartition, records: Sequence[Record], is_current: IsCurrent, error: Exception
    ) -> bool:
        """Quarantine the one record that fails, and move on."""
        record = records[0]
        log.error(
            "record_poison",
            stage=self._step.name,
            topic_partition=topic_partition.guard_name,
            offset=record.offset,
            exc_info=error,
        )

        async def decide() -> Outcome:
            quarantine_records = (self._build_quarantine_record(record, error, include_value=include_value),)
            if self._store is None:
                return Outcome(produce=quarantine_records)
            checkpoint = await self._store.checkpoint(topic_partition)
            return Outcome(checkpoint.position, paused=checkpoint.paused, fence=checkpoint.fence, produce=quarantine_records)

        for include_value in (True, False):
            try:
                return await self._apply_until_durable(topic_partition, decide, records, is_current)
            except StateLost as state_lost:
                if is_current():
                    self._give_up(ExitCode.STATE_LOST, "state_lost", topic_partition, records, state_lost)
                return False
            except Permanent:
                if not include_value:
                    raise
        return False

    def _build_quarantine_record(self, record: Record, error: Exception, *, include_value: bool) -> Outgoing:
        """`include_value` is false for a record that the topic cannot take: it stays readable at its place while Kafka keeps it."""
        error_name = type(error).__name__
        quarantine_record = build_quarantine_record(
            self._step.name,
            (record.topic, record.partition, record.offset),
            record.value if include_value else None,
            Reason.POISON,
            error_name if include_value else f"{error_name}; too large to be kept here",
            at_ms=self._clock.now_ms(),
            counted=record.topic == self._settings.topic("events"),
        )
        return Outgoing(self._settings.topic("quarantine"), encode(quarantine_record))

    async def _apply_until_durable(
        self, topic_partition: TopicPartition, decide: Decide, records: Sequence[Record], is_current: IsCurrent
    ) -> bool:
        """Decide, save and send until all is durable; false when the slice is no longer this worker's."""
        saved = await self._decide_and_save(topic_partition, decide, records, is_current)
        if saved is None or not await self._send(topic_partition, saved.outcome, is_current):
            return False
        metrics.count_results(self._step.name, saved.outcome.results)
        metrics.count_approximate_answers(saved.outcome.approximate)
        elapsed_ms = max(0, self._clock.now_ms() - saved.decided_ms)
        for late_ms in saved.outcome.lateness_ms:
            metrics.observe_timer_lateness("evaluated", late_ms + elapsed_ms)
        return True

    async def _decide_and_save(
        self, topic_partition: TopicPartition, decide: Decide, records: Sequence[Record], is_current: IsCurrent
    ) -> SavedOutcome | None:
        """The outcome whose writes are all in the store.

        A refused document or a lost race is decided again on what is now stored: a zombie has written it, or this very slice
        before its answer was lost.
        """
        backoff, conflicts = Backoff(RETRY_BASE_MS, RETRY_MAX_MS, _JITTER), 0
        while True:
            decided_ms = self._clock.now_ms()
            try:
                with metrics.time_stage(self._step.name, "decide"):
                    outcome = await decide()
                with metrics.time_stage(self._step.name, "save"):
                    if not outcome.paused and await self._store_outcome(topic_partition, outcome, records[-1].offset + 1):
                        if conflicts:
                            self._assigned.mark_timers_unknown(topic_partition)
                        return SavedOutcome(outcome, decided_ms)
                error = None
            except StateLost:
                raise
            except Transient as fault:
                error = fault
            if not is_current():
                return None
            if error is None and outcome.paused:
                await asyncio.sleep(PAUSE_POLL_S)
                continue
            conflicts += 1
            if error is not None or conflicts > CONFLICTS_BEFORE_WAITING:
                self._note_retry(topic_partition, backoff.attempts + 1, error)
                await backoff.wait()

    async def _store_outcome(self, topic_partition: TopicPartition, outcome: Outcome, position: int) -> bool:
        """Whether all was taken. Raises StateLost only for a store that stands behind what it stood at."""
        if self._store is None:
            return True
        self._assigned.check(topic_partition, outcome.expected)
        position = max(position, outcome.expected or 0)  # a replay must not move it back
        try:
            refused = await self._store.save(topic_partition, outcome.expected, position, outcome.writes, outcome.fence)
        except StateLost:  # moved or shut out since it was loaded: `check` tells a loss from a race on the next turn
            return False
        self._assigned.advance(
            topic_partition, position, min((due for due in outcome.writes.timers.values() if due is not None), default=NEVER)
        )
        return not refused

    async def _send(self, topic_partition: TopicPartition, outcome: Outcome, is_current: IsCurrent) -> bool:
        """Send the records of a saved outcome. Return false when the slice stopped being this worker's before they were durable."""
        if not outcome.produce:
            return True

        async def send() -> None:
            with metrics.time_stage(self._step.name, "send"):
                await self._producer.send(outcome.produce)

        try:
            await retry_until_stopped(
                send,
                lambda: not is_current(),
                base_ms=RETRY_BASE_MS,
                max_ms=RETRY_MAX_MS,
                rng=_JITTER,
                on_retry=lambda attempt, error: self._note_retry(topic_partition, attempt, error),
            )
        except Stopped:
            return False
        return True

    def _note_retry(self, topic_partition: TopicPartition, attempt: int, error: BaseException | None) -> None:
        """Count a retry, and log it once for each doubling: an outage of an hour must not fill the log."""
        metrics.count_retry(self._step.name)
        if attempt & (attempt - 1) == 0:
            log.warning(
                "slice_waits",
                stage=self._step.name,
                topic_partition=topic_partition.guard_name,
                attempt=attempt,
                exc_info=error if attempt == 1 else None,
            )
