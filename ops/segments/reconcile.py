"""The nightly reconciliation: compare all segments in the stream with their SQL, and evaluate again the profiles that differ.

Every API process waits for the same instant, and the one that claims the run in the profile store does it.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from typing import Final

from domain.segments.profile_facts import COMPUTED_PREFIX
from ops.segments.verification import SegmentVerification
from ops.segments.verifier import SegmentVerifier
from runtime.clock import Clock
from runtime.errors import OnefoldError
from runtime.logs import get_logger
from runtime.metrics import Metrics

WAIT_S: Final = 30.0
"""The longest sleep before the clock is read again, so that a clock that was set is noticed."""
CLAIM_TTL_MS: Final = 2 * 86_400_000
"""How long a claimed run is remembered: longer than any clock of another process may be behind."""

log: Final = get_logger(__name__)


async def reconcile_daily(at: str, verifier: SegmentVerifier, metrics: Metrics, definitions_loaded: Callable[[], bool]) -> None:
    """Verify with repair at `at` (HH:MM in UTC) each day, until cancelled; return at once when `at` is empty.

    A run that fails is logged, and the next one is done the day after.
    """
    if not at:
        return
    due_ms = next_run(at, verifier.clock.now_ms())
    while True:
        await _sleep_until(verifier.clock, due_ms)
        if definitions_loaded():
            await reconcile(verifier, metrics, due_ms)
        due_ms = next_run(at, verifier.clock.now_ms())


def next_run(at: str, now_ms: int) -> int:
    """Return the next instant after `now_ms`, in ms, at which a clock in UTC shows `at` (HH:MM)."""
    current = datetime.fromtimestamp(now_ms / 1_000, UTC)
    today = datetime.combine(current.date(), time.fromisoformat(at), UTC)
    due = today if today > current else today + timedelta(days=1)
    return int(due.timestamp() * 1_000)


async def reconcile(verifier: SegmentVerifier, metrics: Metrics, due_ms: int) -> SegmentVerification | None:
    """Do the run that was due at `due_ms` and show its figures as metrics; return None if another process does it or it failed.

    A process that does not do the run shows no figures, so that the figures of two nights are never mixed.
    """
    verification = await _claim_and_verify(verifier, f"reconcile:{due_ms}")
    segments = () if verification is None else verification.segments
    metrics.set_all("onefold_segment_drift_profiles", _drift(verification))
    metrics.set_all(
        "onefold_segment_members", {segment.segment: segment.both + len(segment.differing.stream) for segment in segments}
    )
    return verification


async def _claim_and_verify(verifier: SegmentVerifier, run_name: str) -> SegmentVerification | None:
    try:
        if not await verifier.store.claim_run(run_name, CLAIM_TTL_MS):
            return None
        verification = await verifier.verify(repair=True)
    except OnefoldError as error:
        log.warning("segments_not_reconciled", error=str(error))
        return None
    except Exception as error:  # noqa: BLE001 - whatever it is, tomorrow's run must come
        log.error("segments_not_reconciled", error=type(error).__name__)  # noqa: TRY400 - a text may quote a value
        return None
    remaining_drift = {name: profiles for name, profiles in _drift(verification).items() if profiles}
    log_result = log.info if verification.agrees else log.warning
    log_result(
        "segments_reconciled",
        segments=len(verification.segments),
        repaired=verification.repaired,
        remaining_drift=remaining_drift,
        comparisons=verification.comparisons,
    )
    return verification


def _drift(verification: SegmentVerification | None) -> dict[str, int]:
    """Return how many profiles differ, by segment and by computed trait (as `computed.NAME`)."""
    if verification is None:
        return {}
    traits = {f"{COMPUTED_PREFIX}{trait.trait}": len(trait.differing) for trait in verification.traits}
    return {segment.segment: len(segment.differing.profiles) for segment in verification.segments} | traits


async def _sleep_until(clock: Clock, due_ms: int) -> None:
    remaining_ms = due_ms - clock.now_ms()
    while remaining_ms > 0:
        await asyncio.sleep(min(WAIT_S, remaining_ms / 1_000))
        remaining_ms = due_ms - clock.now_ms()
