import asyncio
import functools
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from embedded.child_process import LIVENESS_FAILURES, ChildSpec, process_identity
from embedded.supervisor import Child, ChildFailed, describe_exit, trim_log
from tests.support.polling import eventually_async

wait_until = functools.partial(eventually_async, within_s=30)

MARK = "import sys, time, pathlib; pathlib.Path(sys.argv[1]).write_text('up')\n"


class SupervisorBench:
    """A child process made of a line of Python that reports readiness by writing a file."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.said = directory, list[str]()

    def child(
        self, code: str, *, start_limit_s: float = 30, grace_s: float = 20, is_alive: Callable[[], bool] | None = None
    ) -> Child:
        mark = self.directory / "mark"
        spec = ChildSpec(
            "worker", [sys.executable, "-c", code, str(mark)], mark.exists, self.directory / "worker.log",
            start_timeout_s=start_limit_s, grace_s=grace_s, is_alive=is_alive, liveness_interval_s=0.01,
        )  # fmt: skip
        return Child(spec, self.directory / "worker.pid", self.said.append)


@pytest.fixture
def bench(tmp_path: Path) -> SupervisorBench:
    return SupervisorBench(tmp_path)


async def test_a_killed_child_comes_back_and_says_so(bench: SupervisorBench) -> None:
    child = bench.child(MARK + "time.sleep(60)")
    await child.start()
    first = child.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await wait_until(lambda: len(bench.said) == 2)
    assert child.restarts == 1
    assert await child.is_ready() is True
    assert child.pid != first
    assert bench.said[0] == "worker ended (SIGKILL), restarting"
    await child.stop()


async def test_a_child_that_answers_no_check_is_replaced(bench: SupervisorBench) -> None:
    answers = True
    child = bench.child(MARK + "time.sleep(60)", is_alive=lambda: answers)
    await child.start()
    first = child.pid
    answers = False
    await wait_until(lambda: child.restarts == 1)
    answers = True
    await wait_until(lambda: len(bench.said) == 2)
    assert bench.said[0] == f"worker did not answer {LIVENESS_FAILURES} checks in a row and was ended, restarting"
    assert child.pid != first
    await child.stop()


async def test_a_child_that_misses_some_checks_is_left_alone(bench: SupervisorBench) -> None:
    checks: list[bool] = []

    def is_alive() -> bool:
        checks.append(len(checks) % LIVENESS_FAILURES == 0)
        return checks[-1]

    child = bench.child(MARK + "time.sleep(60)", is_alive=is_alive)
    await child.start()
    first = child.pid
    await wait_until(lambda: len(checks) > 3 * LIVENESS_FAILURES)
    assert child.pid == first
    assert child.restarts == 0
    await child.stop()


async def test_a_stopped_child_stays_stopped_and_can_start_again(bench: SupervisorBench) -> None:
    child = bench.child(MARK + "time.sleep(60)")
    await child.start()
    pid = child.pid
    assert pid is not None
    await child.stop()
    assert child.pid is None
    assert process_identity(pid) is None
    assert await child.is_ready() is False
    await child.start()
    assert await child.is_ready()
    await child.stop()
    assert child.restarts == 0
    assert not (bench.directory / "worker.pid").exists()


async def test_a_child_that_fails_to_start_reports_the_tail_of_its_log(bench: SupervisorBench) -> None:
    child = bench.child("import sys; sys.exit('port in use: Cổng đã bị dùng')")
    with pytest.raises(ChildFailed, match=r"(?s)worker ended while starting \(exit 1\): see .*worker\.log.*Cổng đã bị dùng"):
        await child.start()
    await child.stop()


async def test_a_child_that_is_never_ready_is_ended(bench: SupervisorBench) -> None:
    child = bench.child("import time; time.sleep(60)", start_limit_s=0.2)
    with pytest.raises(ChildFailed, match="worker was not ready after"):
        await child.start()
    assert child.pid is None


async def test_child_ignoring_sigterm_is_killed_after_the_grace_period(bench: SupervisorBench) -> None:
    child = bench.child("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + MARK + "time.sleep(60)", grace_s=0.2)
    await child.start()
    pid = child.pid
    assert pid is not None
    await child.stop()
    assert process_identity(pid) is None


async def test_a_missing_program_is_reported_in_plain_words(bench: SupervisorBench) -> None:
    spec = ChildSpec("worker", ["/no/such/program"], lambda: False, bench.directory / "worker.log")
    with pytest.raises(ChildFailed, match=r"worker cannot be started \(No such file or directory\)"):
        await Child(spec, bench.directory / "worker.pid", print).start()


async def test_stopping_in_mid_start_leaves_nothing(bench: SupervisorBench) -> None:
    child = bench.child("import time; time.sleep(60)")
    starting = asyncio.create_task(child.start())
    await wait_until(lambda: child.pid is not None)
    pid = child.pid
    assert pid is not None
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    await child.stop()
    assert process_identity(pid) is None


def test_an_oversized_log_is_rotated_and_its_tail_retained(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    log.write_text("0123456789")
    trim_log(log, 10)
    assert log.read_text() == "0123456789"
    trim_log(log, 4)
    assert log.read_text() == ""
    assert (tmp_path / "worker.log.1").read_text() == "6789"
    trim_log(tmp_path / "missing.log", 4)


def test_exit_codes_are_words() -> None:
    assert [describe_exit(code) for code in (0, 3, -9, -15, -64)] == ["exit 0", "exit 3", "SIGKILL", "SIGTERM", "SIGRTMAX"]
