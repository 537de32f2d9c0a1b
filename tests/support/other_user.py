"""What another user of this machine can do: code that runs in a child process as the user `nobody`."""

import multiprocessing
import os
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

NOBODY: Final = 65_534
IS_ROOT: Final = os.geteuid() == 0
"""Only root can become another user."""


def as_nobody(act: Callable[[], T]) -> T:
    """Return what `act` returns when the user `nobody` calls it. Raises AssertionError with the text of an error of it."""
    parent, child = multiprocessing.Pipe(duplex=False)
    # A fork, since the interpreter may lie where only this user can read it.
    process = multiprocessing.get_context("fork").Process(target=_run, args=(act, child))
    process.start()
    succeeded, result = parent.recv()
    process.join()
    assert succeeded, result
    answer: T = result
    return answer


def _run(act: Callable[[], T], answers: "multiprocessing.connection.Connection") -> None:
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    try:
        answers.send((True, act()))
    except Exception as error:  # noqa: BLE001 - the parent process reports it
        answers.send((False, f"{type(error).__name__}: {error}"))
