"""When the nightly repair runs, what it leaves behind, and how a comparison reads."""

import asyncio
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from pydantic import ValidationError
from rich.console import Console

from ops.cli import segment_answers
from ops.segments import reconcile
from ops.segments.to_json import verification_to_json
from ops.segments.verification import DifferingProfiles, DriftCauses, SegmentComparison, SegmentVerification, TraitComparison
from ops.segments.verifier import SegmentVerifier
from profile_store.memory import MemoryStore
from runtime.clock import ManualClock
from runtime.metrics import Metrics
from runtime.settings import Settings

NOW_MS = 1_750_000_000_000  # 2025-06-15T15:06:40Z
DAY = 86_400_000
ÁNH, BÌNH = "0" * 31 + "a", "0" * 31 + "b"
AGREED = SegmentVerification((SegmentComparison("vip", "v1", 7),), 1, NOW_MS, repaired=0)
DRIFTED = SegmentVerification(
    (
        SegmentComparison(
            "vip",
            "v1",
            7,
            DifferingProfiles(frozenset({ÁNH}), frozenset({BÌNH})),
            DriftCauses(approximate=1, registers=1, leaves=(("the sum of total, Đặt hàng ≥ 5", 1),)),
        ),
        SegmentComparison("khach-" + "x" * 57, "v2", 1_234_567),
    ),
    5,
    NOW_MS,
)


@pytest.mark.parametrize(
    ("at", "now_ms", "due_ms"),
    [
        ("15:06", NOW_MS, NOW_MS - 40_000 + DAY),
        ("15:07", NOW_MS, NOW_MS + 20_000),
        ("00:00", NOW_MS, 1_750_032_000_000),
        ("00:00", 1_750_032_000_000, 1_750_032_000_000 + DAY),
    ],
)
def test_the_next_run_is_the_next_time_that_a_clock_shows_it(at: str, now_ms: int, due_ms: int) -> None:
    assert reconcile.next_run(at, now_ms) == due_ms


@pytest.mark.parametrize("at", ["", "00:00", "23:59"])
def test_the_hour_is_a_setting(at: str) -> None:
    assert Settings(reconcile_at=at).reconcile_at == at


@pytest.mark.parametrize("at", ["24:00", "3:00", "03:60", "nightly", "03:00\n"])
def test_invalid_reconciliation_hour_is_refused(at: str) -> None:
    with pytest.raises(ValidationError):
        Settings(reconcile_at=at)


@dataclass
class ScriptedVerifier:
    """A verifier that gives the listed answers; an exception among them is raised."""

    answers: list[Any]
    clock: ManualClock = field(default_factory=lambda: ManualClock(NOW_MS))
    requests: int = 0
    definitions_loaded: bool = True

    def __post_init__(self) -> None:
        self.store = MemoryStore(self.clock)

    async def verify(self, names: Sequence[str] = (), *, repair: bool = False) -> SegmentVerification:
        assert list(names) == []
        assert repair is True
        self.requests += 1
        found = self.answers.pop(0)
        if isinstance(found, Exception):
            raise found
        assert isinstance(found, SegmentVerification)
        return found


def as_verifier(comparing: ScriptedVerifier) -> SegmentVerifier:
    return cast("SegmentVerifier", comparing)


async def test_metrics_of_removed_segments_disappear_after_a_run() -> None:
    metrics, comparing = Metrics(), ScriptedVerifier([DRIFTED, AGREED])
    await reconcile.reconcile(as_verifier(comparing), metrics, NOW_MS)
    assert 'onefold_segment_drift_profiles{segment="vip"} 2.0' in metrics.exposition().decode()
    assert 'onefold_segment_members{segment="vip"} 8.0' in metrics.exposition().decode()
    await reconcile.reconcile(as_verifier(comparing), metrics, NOW_MS + DAY)
    shown = metrics.exposition().decode()
    assert 'onefold_segment_drift_profiles{segment="vip"} 0.0' in shown
    assert "khach-" not in shown


async def test_drift_of_a_computed_trait_is_shown_beside_that_of_segments() -> None:
    metrics = Metrics()
    trait = TraitComparison("tong-chi", "v", 7, frozenset({"a", "b", "c"}), DriftCauses(stale=1, registers=2))
    verification = SegmentVerification((), 5, NOW_MS, repaired=3, traits=(trait,))
    assert not verification.agrees
    await reconcile.reconcile(as_verifier(ScriptedVerifier([verification])), metrics, NOW_MS)
    assert 'onefold_segment_drift_profiles{segment="computed.tong-chi"} 3.0' in metrics.exposition().decode()
    text = rendered(verification)
    assert max(map(len, text.splitlines())) <= 80
    for part in ("Stream and SQL differ", "tong-chi", "2 differ because the profile's registers contradict"):
        assert part in text


async def test_failed_reconciliation_is_followed_by_the_next() -> None:
    comparing = ScriptedVerifier([RuntimeError(f"about {ÁNH}"), AGREED])
    assert await reconcile.reconcile(as_verifier(comparing), Metrics(), NOW_MS) is None
    assert await reconcile.reconcile(as_verifier(comparing), Metrics(), NOW_MS + DAY) == AGREED


async def test_only_one_process_runs_the_reconciliation() -> None:
    comparing, mine, other = ScriptedVerifier([DRIFTED, AGREED]), Metrics(), Metrics()
    assert await reconcile.reconcile(as_verifier(comparing), mine, NOW_MS) == DRIFTED
    assert await reconcile.reconcile(as_verifier(comparing), other, NOW_MS) is None
    assert await reconcile.reconcile(as_verifier(comparing), other, NOW_MS + DAY) == AGREED
    assert await reconcile.reconcile(as_verifier(comparing), mine, NOW_MS + DAY) is None
    assert 'onefold_segment_drift_profiles{segment="vip"} 0.0' in other.exposition().decode()
    assert "onefold_segment_drift_profiles{" not in mine.exposition().decode()


async def test_every_day_it_runs_once_and_not_before_the_definitions_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    comparing = ScriptedVerifier([AGREED, AGREED])
    runs: list[int] = []
    known = iter([False, True, True])

    async def sleep(seconds: float) -> None:
        comparing.clock.advance(int(seconds * 1_000))
        if comparing.clock.now_ms() > NOW_MS + 3 * DAY:
            raise asyncio.CancelledError

    def knows() -> bool:
        runs.append(comparing.clock.now_ms())
        return next(known)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr(reconcile, "WAIT_S", 3_600.0)
    with pytest.raises(asyncio.CancelledError):
        await reconcile.reconcile_daily("16:06", as_verifier(comparing), Metrics(), knows)
    first = NOW_MS + 3_600_000 - 40_000
    assert runs == [first, first + DAY, first + 2 * DAY]
    assert comparing.requests == 2


async def test_without_an_hour_it_never_runs() -> None:
    comparing = ScriptedVerifier([])
    await reconcile.reconcile_daily("", as_verifier(comparing), Metrics(), lambda: True)
    assert comparing.requests == 0


def rendered(verified: SegmentVerification) -> str:
    console = Console(file=io.StringIO(), width=80, highlight=False)
    console.print(segment_answers.verification(verification_to_json(verified)))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_comparison_reads_on_a_narrow_terminal_and_says_what_to_do() -> None:
    text = rendered(DRIFTED)
    assert max(map(len, text.splitlines())) <= 80
    for part in (
        "Stream and SQL differ",
        "compared 5 times",
        "1,234,567",
        "1 differ by an approximation",
        "the sum of total, Đặt hàng ≥ 5 (1)",
        "registers contradict",
        "--repair",
    ):
        assert part in text
    repaired = SegmentVerification(DRIFTED.segments, 9, NOW_MS, repaired=2)
    assert "onefold rebuild profiles" in rendered(repaired)
    assert "2 profiles were evaluated again" in rendered(repaired)
    agreed = rendered(AGREED)
    assert "Stream and SQL agree" in agreed
    assert "differ" not in agreed
