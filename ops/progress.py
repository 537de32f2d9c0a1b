"""How a service reports the progress of a long command, without knowing where the progress is shown."""

from typing import Protocol


class ProgressReporter(Protocol):
    """Receives how many of `total` steps of a phase are completed. `total` may be a guess, and `completed` may exceed it."""

    def __call__(self, phase: str, completed: int, total: int) -> None: ...


def report_nothing(phase: str, completed: int, total: int) -> None:
    """Discard the report."""
