"""Every night: compare what the stream and SQL say of all segments, and mend what differs. One API process of several does it."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from typing import Final

from ops.segments.verifier import Verified, Verifier
from runtime.clock import Clock
from runtime.errors import OnefoldError
from runtime.logs import get_logger
from runtime.metrics import Metrics

WAIT_S: Final = 30.0
KEPT_MS: Final = 2 * 86_400_000

log: Final = get_logger(__name__)


async def reconcile_daily(at: str, verifier: Verifier, metrics: Metrics, known: Callable[[], bool]) -> None:
    """For ever: at `at` (HH:MM, UTC) each day, verify with repair. Empty: never. A run that fails is logged, the next one comes."""
    if not at:
        return
    due_ms = next_run(at, verifier.clock.now_ms())
    while True:
        await _until(verifier.clock, due_ms)
        if known():
            await reconcile(verifier, metrics, due_ms)
        due_ms = next_run(at, verifier.clock.now_ms())


def next_run(at: str, now_ms: int) -> int:
    """The next instant after `now_ms` at which a clock in UTC shows HH:MM. Pure."""
    now = datetime.fromtimestamp(now_ms / 1_000, UTC)
    today = datetime.combine(now.date(), time.fromisoformat(at), UTC)
    due = today if today > now else today + timedelta(days=1)
    return int(due.timestamp() * 1_000)


async def reconcile(verifier: Verifier, metrics: Metrics, due_ms: int) -> Verified | None:
    """The run that was due at `due_ms`, unless another process has taken it; then its figures are the ones to be shown.

    Two processes that take it at one moment do no harm.
    """
    found = await _run(verifier, f"reconcile:{due_ms}")
    segments = () if found is None else found.segments
    metrics.set_all("onefold_segment_drift_profiles", {one.segment: len(one.differing.profiles) for one in segments})
    metrics.set_all("onefold_segment_members", {one.segment: one.both + len(one.differing.stream) for one in segments})
    return found


async def _run(verifier: Verifier, key: str) -> Verified | None:
    try:
        if not await verifier.store.claim_delivery(key):
            return None
        await verifier.store.settle_delivery(key, KEPT_MS)
        found = await verifier.verify(repair=True)
    except OnefoldError as error:
        log.warning("segments_not_reconciled", error=str(error))
        return None
    except Exception as error:  # noqa: BLE001 - whatever it is, tomorrow's run must come
        log.error("segments_not_reconciled", error=type(error).__name__)  # noqa: TRY400 - a text may quote a value
        return None
    left = {one.segment: len(one.differing.profiles) for one in found.segments if not one.agrees}
    say = log.info if found.agrees else log.warning
    say("segments_reconciled", segments=len(found.segments), repaired=found.repaired, left=left, looks=found.looks)
    return found


async def _until(clock: Clock, due_ms: int) -> None:
    left_ms = due_ms - clock.now_ms()
    while left_ms > 0:
        await asyncio.sleep(min(WAIT_S, left_ms / 1_000))
        left_ms = due_ms - clock.now_ms()
