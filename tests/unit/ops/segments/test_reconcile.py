"""When the nightly repair runs, what it leaves behind, and how a comparison reads."""

import asyncio
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from pydantic import ValidationError
from rich.console import Console

from ops.segments import reconcile, render as say
from ops.segments.to_json import shape_verified
from ops.segments.verifier import (Causes, Compared, Differing, Verified, Verifier)
from profile_store.memory import MemoryStore
from runtime.clock import ManualClock
from runtime.metrics import Metrics
from runtime.settings import Settings

NOW = 1_750_000_000_000  # 2025-06-15T15:06:40Z
DAY = 86_400_000
ÁNH, BÌNH = "0" * 31 + "a", "0" * 31 + "b"
AGREED = Verified((Compared("vip", "v1", 7),), 1, NOW, repaired=0)
DRIFTED = Verified(
    (
        Compared(
            "vip",
            "v1",
            7,
            Differing(frozenset({ÁNH}), frozenset({BÌNH})),
            Causes(approximate=1, registers=1, leaves=(("the sum of total, Đặt hàng ≥ 5", 1),)),
        ),
        Compared("khach-" + "x" * 57, "v2", 1_234_567),
    ),
    5,
    NOW,
)


@pytest.mark.parametrize(
    ("at", "now_ms", "due_ms"),
    [
        ("15:06", NOW, NOW - 40_000 + DAY),
        ("15:07", NOW, NOW + 20_000),
        ("00:00", NOW, 1_750_032_000_000),
        ("00:00", 1_750_032_000_000, 1_750_032_000_000 + DAY),
    ],
)
def test_the_next_run_is_the_next_time_that_a_clock_shows_it(at: str, now_ms: int, due_ms: int) -> None:
    assert reconcile.next_run(at, now_ms) == due_ms


@pytest.mark.parametrize("at", ["", "00:00", "23:59"])
def test_the_hour_is_a_setting(at: str) -> None:
    assert Settings(reconcile_at=at).reconcile_at == at


@pytest.mark.parametrize("at", ["24:00", "3:00", "03:60", "nightly", "03:00\n"])
def test_an_hour_that_is_none_is_refused(at: str) -> None:
    with pytest.raises(ValidationError):
        Settings(reconcile_at=at)


@dataclass
class Comparing:
    """A verifier that answers what it is told to; an exception is raised."""

    answers: list[Any]
    clock: ManualClock = field(default_factory=lambda: ManualClock(NOW))
    asked: int = 0
    known: bool = True

    def __post_init__(self) -> None:
        self.store = MemoryStore(self.clock)

    async def verify(self, names: Sequence[str] = (), *, repair: bool = False) -> Verified:
        assert (list(names), repair) == ([], True)
        self.asked += 1
        found = self.answers.pop(0)
        if isinstance(found, Exception):
            raise found
        assert isinstance(found, Verified)
        return found


def as_verifier(comparing: Comparing) -> Verifier:
    return cast("Verifier", comparing)


async def test_a_run_shows_its_figures_and_one_that_is_gone_is_shown_no_more() -> None:
    metrics, comparing = Metrics(), Comparing([DRIFTED, AGREED])
    await reconcile.reconcile(as_verifier(comparing), metrics, NOW)
    assert 'onefold_segment_drift_profiles{segment="vip"} 2.0' in metrics.exposition().decode()
    assert 'onefold_segment_members{segment="vip"} 8.0' in metrics.exposition().decode()
    await reconcile.reconcile(as_verifier(comparing), metrics, NOW + DAY)
    shown = metrics.exposition().decode()
    assert 'onefold_segment_drift_profiles{segment="vip"} 0.0' in shown
    assert "khach-" not in shown


async def test_a_run_that_fails_whatever_way_is_followed_by_the_next() -> None:
    comparing = Comparing([RuntimeError(f"about {ÁNH}"), AGREED])
    assert await reconcile.reconcile(as_verifier(comparing), Metrics(), NOW) is None
    assert await reconcile.reconcile(as_verifier(comparing), Metrics(), NOW + DAY) == AGREED


async def test_one_of_several_processes_does_it_and_the_others_show_nothing() -> None:
    comparing, mine, other = Comparing([DRIFTED, AGREED]), Metrics(), Metrics()
    assert await reconcile.reconcile(as_verifier(comparing), mine, NOW) == DRIFTED
    assert await reconcile.reconcile(as_verifier(comparing), other, NOW) is None
    assert await reconcile.reconcile(as_verifier(comparing), other, NOW + DAY) == AGREED
    assert await reconcile.reconcile(as_verifier(comparing), mine, NOW + DAY) is None
    assert 'onefold_segment_drift_profiles{segment="vip"} 0.0' in other.exposition().decode()
    assert "onefold_segment_drift_profiles{" not in mine.exposition().decode()


async def test_every_day_it_runs_once_and_not_before_the_definitions_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    comparing = Comparing([AGREED, AGREED])
    runs: list[int] = []
    known = iter([False, True, True])

    async def sleep(seconds: float) -> None:
        comparing.clock.advance(int(seconds * 1_000))
        if comparing.clock.now_ms() > NOW + 3 * DAY:
            raise asyncio.CancelledError

    def knows() -> bool:
        runs.append(comparing.clock.now_ms())
        return next(known)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr(reconcile, "WAIT_S", 3_600.0)
    with pytest.raises(asyncio.CancelledError):
        await reconcile.reconcile_daily("16:06", as_verifier(comparing), Metrics(), knows)
    first = NOW + 3_600_000 - 40_000
    assert (runs, comparing.asked) == ([first, first + DAY, first + 2 * DAY], 2)


async def test_without_an_hour_it_never_runs() -> None:
    comparing = Comparing([])
    await reconcile.reconcile_daily("", as_verifier(comparing), Metrics(), lambda: True)
    assert comparing.asked == 0


def rendered(verified: Verified) -> str:
    console = Console(file=io.StringIO(), width=80, highlight=False)
    console.print(say.verified(shape_verified(verified)))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_comparison_reads_on_a_narrow_terminal_and_says_what_to_do() -> None:
    text = rendered(DRIFTED)
    assert max(map(len, text.splitlines())) <= 80
    for part in (
        "Stream and SQL differ",
        "5 looks",
        "1,234,567",
        "1 differ by an approximation",
        "the sum of total, Đặt hàng ≥ 5 (1)",
        "registers hold",
        "--repair",
    ):
        assert part in text
    left = Verified(DRIFTED.segments, 9, NOW, repaired=2)
    assert "onefold rebuild profiles" in rendered(left)
    assert "2 profiles were evaluated anew" in rendered(left)
    agreed = rendered(AGREED)
    assert "Stream and SQL agree" in agreed
    assert "differ" not in agreed
