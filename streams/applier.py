"""The applier: the one place where the decision of a step becomes effects, so that a slice counts once whatever happens.

**Why.** Between a record that is read and its effects in the store and on the broker a process can die at any instant, a zombie
can still be writing, an answer can be lost, and the step can have a bug. All of that is dealt with here, once, so that a step is a
plain function from stored state and records to an `Outcome`.

**The order is the invariant.** For each slice:

1. The step loads state and decides. Its outcome names the position and the fence that it saw.
2. The writes are saved, the new position with them, as one pipeline whose last command moves the position.
3. The records are sent, and all of them are awaited.
4. The caller acknowledges the slice, so that its offset is committed to Kafka.

After a crash anywhere the slice is read again, from the smaller of the committed offset and the stored position. Each document
has the last offset that was applied to it. So the repetition changes only documents that were not yet written, and for the others
it only sends the records again. So state changes once, and records are sent at least once. Sending before saving would be wrong:
a record could report a state that was never stored.

**Example.** The worker reads offsets 40 to 49 and the store is at position 40. The save moves it to 50, and the answer is lost.
The applier cannot know whether it was written, so it decides anew: now the step loads position 50 and documents with applied
offset 49, finds ten replayed records, writes nothing, and emits their records. They are sent, and the slice is acknowledged.

If another worker has the partition meanwhile and has moved it to 60, the save expects 40, finds 60, and is refused as a lost race.
By then `is_current` is False, so nothing is sent and nothing is acknowledged. If this worker still has the partition, the writer
was a zombie: the slice is decided again on what is stored now.

**The store came back older**, after a failover that lost its last writes, if its position is behind one that this worker has seen.
Then the process ends with STATE_LOST and starts again, because only an assignment makes Kafka deliver the lost offsets again.

**A bug** in a step ends the process the first time: a restart heals what comes from broken memory or an unlucky moment. The records
are noted in a file. When a slice with one of them fails again, its records are applied one by one, and the one that fails is put
into quarantine. Nothing that a step raises may reach Faust, which would take the slice for done.
"""

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
from runtime.errors import Misconfigured, StateLost, Transient
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
from streams.quarantining_producer import QuarantiningProducer
from streams.step import Step

log: Final = get_logger(__name__)
_JITTER: Final = random.Random()  # noqa: S311 - jitter, not a secret

RETRY_BASE_MS: Final = 50
RETRY_MAX_MS: Final = 5_000
PAUSE_POLL_S: Final = 0.2
"""How often a slice is decided again while the writers are paused."""
CONFLICTS_BEFORE_WAITING: Final = 5
"""How many lost races of one slice are decided anew at once. After that it waits between the tries, as for a transient fault."""


class ExitCode(IntEnum):
    """Why a stream process ends, as its exit status. Its supervisor starts it again."""

    STOPPED = 0
    MISCONFIGURED = 2
    STATE_LOST = 3
    BUG = 4
    CONSUMER = 5


Stop = Callable[[ExitCode], None]
"""Asks the process to end. It returns at once."""
Decide = Callable[[], Awaitable[Outcome]]
"""Loads what is stored now, and decides on that. It is called again after a lost race."""
IsCurrent = Callable[[], bool]
"""Tells whether the slice still belongs to this worker: no rebalance since it was read, and the process is not stopping."""


@dataclass(frozen=True, slots=True)
class SavedOutcome:
    """An outcome whose writes are in the store, and when its decision began."""

    outcome: Outcome
    decided_ms: int


class Applier:
    """Applies the slices of one agent. It raises for no fault of a step, a store or a broker: it retries, quarantines, or stops.

    `store` is None for a step that keeps no state. `stop` is called with the reason when the process has to start again.
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
        self._producer = QuarantiningProducer(settings, step.name, producer, clock)
        self._clock = clock
        self._stop = stop
        self._failures = FailedSlices(settings.data_dir / "streams" / step.name / "failed.json")

    async def apply(self, topic_partition: TopicPartition, records: Sequence[Record], is_current: IsCurrent) -> bool:
        """Apply a slice: records of one partition in offset order. Returns whether it may be acknowledged.

        False means that it is to be read again, by this worker after a restart or by the one that has the partition now.
        """
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
            # After a rebalance the store may rightly be ahead or behind of what this worker remembers: then it is not its business.
            if is_current():
                self._give_up(ExitCode.STATE_LOST, "state_lost", topic_partition, records, error)
        except Misconfigured as error:
            self._give_up(ExitCode.MISCONFIGURED, "misconfigured", topic_partition, records, error)
        except Exception as error:  # noqa: BLE001 - whatever a bug raises must not reach Faust, which would acknowledge the slice
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
        """Handle a bug of the step: restart the process the first time, apply the records one by one the second time."""
        if not self._failures.has(records):
            self._failures.add(records)
            self._give_up(ExitCode.BUG, "slice_failed", topic_partition, records, error)
            return False
        # The others of the slice are sound: one by one, they are applied as ever, and only the one that fails is quarantined.
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
        """Put the single record in `records` into quarantine and move the position past it."""
        record = records[0]
        log.error(
            "record_poison",
            stage=self._step.name,
            topic_partition=topic_partition.guard_name,
            offset=record.offset,
            exc_info=error,
        )

        async def decide() -> Outcome:
            quarantine_records = (self._build_quarantine_record(record, error),)
            if self._store is None:
                return Outcome(produce=quarantine_records)
            checkpoint = await self._store.checkpoint(topic_partition)
            return Outcome(checkpoint.position, paused=checkpoint.paused, fence=checkpoint.fence, produce=quarantine_records)

        try:
            return await self._apply_until_durable(topic_partition, decide, records, is_current)
        except StateLost as state_lost:
            if is_current():
                self._give_up(ExitCode.STATE_LOST, "state_lost", topic_partition, records, state_lost)
            return False

    def _build_quarantine_record(self, record: Record, error: Exception) -> Outgoing:
        quarantine_record = build_quarantine_record(
            self._step.name,
            (record.topic, record.partition, record.offset),
            record.value,
            Reason.POISON,
            type(error).__name__,
            at_ms=self._clock.now_ms(),
            counted=record.topic == self._settings.topic("events"),
        )
        return Outgoing(self._settings.topic("quarantine"), encode(quarantine_record))

    async def _apply_until_durable(
        self, topic_partition: TopicPartition, decide: Decide, records: Sequence[Record], is_current: IsCurrent
    ) -> bool:
        """Decide, save and send until everything is durable. Returns False when the slice is no longer this worker's."""
        saved = await self._decide_and_save(topic_partition, decide, records, is_current)
        if saved is None or not await self._send(topic_partition, saved.outcome, is_current):
            return False
        metrics.count_results(self._step.name, saved.outcome.results)
        metrics.count_dropped_names(saved.outcome.dropped_names)
        metrics.count_approximate_answers(saved.outcome.approximate)
        # A timer's lateness ends where its effect is durable, so what saving and sending took counts as well.
        elapsed_ms = max(0, self._clock.now_ms() - saved.decided_ms)
        for late_ms in saved.outcome.lateness_ms:
            metrics.observe_timer_lateness("evaluated", late_ms + elapsed_ms)
        return True

    async def _decide_and_save(
        self, topic_partition: TopicPartition, decide: Decide, records: Sequence[Record], is_current: IsCurrent
    ) -> SavedOutcome | None:
        """Return the outcome whose writes are all in the store; None when the slice is no longer this worker's.

        After a refused document or a lost race the step decides again from what is stored now. Either another worker has written
        in the meantime, or an earlier try for this slice was saved and the store's answer was lost. Raises StateLost when the
        store came back in an older state.
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
                            # An earlier try may have been saved with other timers than this one knows of.
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
                # An operator's command asked for the pause, and it lapses by itself. It is no fault: not counted, not logged.
                await asyncio.sleep(PAUSE_POLL_S)
                continue
            conflicts += 1
            if error is not None or conflicts > CONFLICTS_BEFORE_WAITING:
                self._note_retry(topic_partition, backoff.attempts + 1, error)
                await backoff.wait()

    async def _store_outcome(self, topic_partition: TopicPartition, outcome: Outcome, position: int) -> bool:
        """Save the writes and the position. Returns False when the race was lost or a document was refused.

        Raises StateLost only when the store is behind a position that this worker has seen in it.
        """
        if self._store is None:
            return True
        self._assigned.check(topic_partition, outcome.expected)
        # A replay ends before the stored position. It must not move it back, or its records would count as unapplied.
        position = max(position, outcome.expected or 0)
        try:
            refused = await self._store.save(topic_partition, outcome.expected, position, outcome.writes, outcome.fence)
        except StateLost:
            # The position or the fence moved since the state was loaded. That is a race, or a loss: `check` tells on the next turn.
            return False
        self._assigned.advance(
            topic_partition, position, min((due for due in outcome.writes.timers.values() if due is not None), default=NEVER)
        )
        return not refused

    async def _send(self, topic_partition: TopicPartition, outcome: Outcome, is_current: IsCurrent) -> bool:
        """Send the records of a saved outcome. Return false when the slice stopped being this worker's before they were durable."""
        if not outcome.produce:
            return True

        # A retry sends all of them: some may be on the broker already, and every reader expects repetitions.
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
