"""The progress of a long command on standard error: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ops.cli.terminal import is_terminal, open_console
from ops.progress import ProgressReporter

LINE_EVERY_S: Final = 2.0


@contextmanager
def progress_on_stderr() -> Iterator[ProgressReporter]:
    """Report on standard error, so that the answer of a command stays alone on standard output."""
    if not is_terminal(sys.stderr):
        yield _LineReporter()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=open_console(stderr=True), transient=True) as bars:
        tasks = {}

        def show(phase: str, completed: int, total: int) -> None:
            if phase not in tasks:
                tasks[phase] = bars.add_task(phase, total=total)
            bars.update(tasks[phase], completed=completed, total=max(completed, total))

        yield show


class _LineReporter:
    """Prints a line when a phase begins, then one every two seconds, and one at its end."""

    def __init__(self) -> None:
        self._phase = ""
        self._printed_s = 0.0

    def __call__(self, phase: str, completed: int, total: int) -> None:
        time_s = time.monotonic()
        if phase == self._phase and completed < total and time_s - self._printed_s < LINE_EVERY_S:
            return
        self._phase = phase
        self._printed_s = time_s
        sys.stderr.write(f"{phase}: {completed:,} of {max(completed, total):,}\n")
        sys.stderr.flush()
