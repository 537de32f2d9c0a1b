"""The one place where outcomes become effects: load, decide, save, send; the caller acknowledges after that."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from profile_store.port import Place, ProfileStore
from runtime.bus.port import Outgoing, Producer, Record
from runtime.clock import Clock
from runtime.errors import Misconfigured, Permanent, StateLost, Transient
from runtime.retry import backoff_ms
from runtime.settings import Settings
from schemas.codec import encode
from schemas.quarantine import quarantined as of_record
from schemas.reasons import Reason
from streams import metrics
from streams.failed_slices import Failures
from streams.outcome import Outcome
from streams.assigned_partitions import NEVER, Places
from streams.step import Step

log: Final = logging.getLogger(__name__)
_JITTER: Final = random.Random()  # noqa: S311 - jitter, not a secret

RETRY_BASE_MS: Final = 50
RETRY_MAX_MS: Final = 5_000
HOLD_LOOK_S: Final = 0.2
CONFLICTS_BEFORE_WAITING: Final = 5
"""Refusals and lost races of one slice, each decided anew at once, before it waits as for a fault that may pass."""


class Exit(IntEnum):
    """Why a stream process ends; its supervisor starts it again."""

    STOPPED = 0
    MISCONFIGURED = 2
    STATE_LOST = 3
    BUG = 4
    CONSUMER = 5


Stop = Callable[[Exit], None]
Decide = Callable[[], Awaitable[Outcome]]
Current = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Saved:
    """An outcome that is in the store, and when its decision began."""

    outcome: Outcome
    decided_ms: int


class Patience:
    """Waits longer and longer, with jitter, and says so once for each doubling."""

    def __init__(self, stage: str, place: Place) -> None:
        self._stage, self._place, self._waits = stage, place, 0

    async def wait(self, error: BaseException | None) -> None:
        """Sleep before the next try."""
        wait_ms = backoff_ms(self._waits, RETRY_BASE_MS, RETRY_MAX_MS, _JITTER)
        self._waits += 1
        if self._waits & (self._waits - 1) == 0:
            log.warning(
                "a slice waits for what it needs",
                extra={"action": "slice_waits", "stage": self._stage, "place": self._place.name, "tries": self._waits},
                exc_info=error if self._waits == 1 else None,
            )
        await asyncio.sleep(wait_ms / 1000)


class Applier:
    """Applies slices of one agent. Never raises for what a slice or a store does: it retries, quarantines, or stops the process.

    `store` is None for a step that keeps no state. `stop` is told why the process must start again.
    """

    def __init__(
        self,
        settings: Settings,
        step: Step,
        places: Places,
        store: ProfileStore | None,
        producer: Producer,
        clock: Clock,
        stop: Stop,
    ) -> None:
        self._settings, self._step, self._places = settings, step, places
        self._store, self._producer, self._clock, self._stop = store, producer, clock, stop
        self._failures = Failures(settings.data_dir / "streams" / step.name / "failed.json")

    async def apply(self, place: Place, records: Sequence[Record], current: Current) -> bool:
        """Whether the slice is done and may be acknowledged. `current` says whether it is still this worker's to do."""
        started = time.monotonic()
        done = await self._guarded(place, records, current, lambda error: self._failed(place, records, current, error))
        if done:
            self._failures.passed(records)
            metrics.applied(self._step.name, len(records), time.monotonic() - started)
        return done

    async def _guarded(
        self, place: Place, records: Sequence[Record], current: Current, bug: Callable[[Exception], Awaitable[bool]]
    ) -> bool:
        try:
            return await self._settle(place, lambda: self._step.run(place, records, self._clock.now_ms()), records, current)
        except StateLost as error:
            if current():
                self._give_up(Exit.STATE_LOST, "state_lost", place, records, error)
        except Misconfigured as error:
            self._give_up(Exit.MISCONFIGURED, "misconfigured", place, records, error)
        except Exception as error:  # noqa: BLE001 - whatever a bug raises must not reach Faust, which would take the slice for done
            return await bug(error)
        return False

    def _give_up(self, code: Exit, action: str, place: Place, records: Sequence[Record], error: Exception) -> None:
        log.error(
            "a slice cannot be done; the process starts again",
            extra={"action": action, "stage": self._step.name, "place": place.name, "offset": records[0].offset},
            exc_info=error,
        )
        self._stop(code)

    async def _failed(self, place: Place, records: Sequence[Record], current: Current, error: Exception) -> bool:
        """A bug: the first time the process starts again, the second time the records are taken one by one."""
        if not self._failures.has(records):
            self._failures.add(records)
            self._give_up(Exit.BUG, "slice_failed", place, records, error)
            return False
        for record in records:
            one = [record]
            if not await self._guarded(place, one, current, lambda bug, one=one: self._poison(place, one, current, bug)):  # type: ignore[misc]  # mypy does not infer a lambda's default
                return False
        return True

    async def _poison(self, place: Place, records: Sequence[Record], current: Current, error: Exception) -> bool:
        """Quarantine the one record that fails, and move on."""
        record = records[0]
        log.error(
            "a record fails again and again and is quarantined",
            extra={"action": "record_poison", "stage": self._step.name, "place": place.name, "offset": record.offset},
            exc_info=error,
        )

        async def decide() -> Outcome:
            said = (self._quarantined(record, error, whole=whole),)
            if self._store is None:
                return Outcome(produce=said)
            standing = await self._store.standing(place)
            return Outcome(standing.position, held=standing.held, fence=standing.fence, produce=said)

        for whole in (True, False):
            try:
                return await self._settle(place, decide, records, current)
            except StateLost as lost:
                if current():
                    self._give_up(Exit.STATE_LOST, "state_lost", place, records, lost)
                return False
            except Permanent:
                if not whole:
                    raise
        return False

    def _quarantined(self, record: Record, error: Exception, *, whole: bool) -> Outgoing:
        """`whole` is false for a record that the topic cannot take: it stays readable at its place while Kafka keeps it."""
        kind = type(error).__name__
        held = of_record(
            self._step.name,
            (record.topic, record.partition, record.offset),
            record.value if whole else None,
            Reason.POISON,
            kind if whole else f"{kind}; too large to be kept here",
            at_ms=self._clock.now_ms(),
            counted=record.topic == self._settings.topic("events"),
        )
        return Outgoing(self._settings.topic("quarantine"), encode(held))

    async def _settle(self, place: Place, decide: Decide, records: Sequence[Record], current: Current) -> bool:
        """Decide, save and send until all is durable; false when the slice is no longer this worker's."""
        saved = await self._saved(place, decide, records, current)
        if saved is None or not await self._sent(place, saved.outcome, current):
            return False
        metrics.results(self._step.name, saved.outcome.results)
        since_ms = max(0, self._clock.now_ms() - saved.decided_ms)
        for late_ms in saved.outcome.lateness_ms:
            metrics.timer_late("evaluated", late_ms + since_ms)
        return True

    async def _saved(self, place: Place, decide: Decide, records: Sequence[Record], current: Current) -> Saved | None:
        """The outcome whose writes are all in the store.

        A refused document or a lost race is decided again on what is now stored: a zombie has written it, or this very slice
        before its answer was lost.
        """
        patience, conflicts = Patience(self._step.name, place), 0
        while True:
            decided_ms = self._clock.now_ms()
            try:
                with metrics.staged(self._step.name, "decide"):
                    outcome = await decide()
                with metrics.staged(self._step.name, "save"):
                    if not outcome.held and await self._store_outcome(place, outcome, records[-1].offset + 1):
                        if conflicts:
                            self._places.unsure(place)
                        return Saved(outcome, decided_ms)
                error = None
            except StateLost:
                raise
            except Transient as fault:
                error = fault
            if not current():
                return None
            if error is None and outcome.held:
                await asyncio.sleep(HOLD_LOOK_S)
                continue
            conflicts += 1
            if error is not None or conflicts > CONFLICTS_BEFORE_WAITING:
                metrics.retried(self._step.name)
                await patience.wait(error)

    async def _store_outcome(self, place: Place, outcome: Outcome, position: int) -> bool:
        """Whether all was taken. Raises StateLost only for a store that stands behind what it stood at."""
        if self._store is None:
            return True
        self._places.check(place, outcome.expected)
        position = max(position, outcome.expected or 0)  # a replay must not move it back
        try:
            refused = await self._store.save(place, outcome.expected, position, outcome.writes, outcome.fence)
        except StateLost:  # moved or shut out since it was loaded: `check` tells a loss from a race on the next turn
            return False
        self._places.moved(place, position, min((due for due in outcome.writes.timers.values() if due is not None), default=NEVER))
        return not refused

    async def _sent(self, place: Place, outcome: Outcome, current: Current) -> bool:
        patience = Patience(self._step.name, place)
        while outcome.produce:
            try:
                with metrics.staged(self._step.name, "send"):
                    await self._producer.send(outcome.produce)
                break
            except Transient as error:
                if not current():
                    return False
                metrics.retried(self._step.name)
                await patience.wait(error)
        return True
