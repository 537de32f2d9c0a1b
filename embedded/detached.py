"""A stack that runs on without the command that started it, and the wait until one has stopped."""

import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from embedded import control
from embedded.directory_lock import lock_holder
from embedded.layout import Layout
from runtime.errors import Misconfigured, OnefoldError, Permanent, Transient

_ERROR_START: Final = "onefold: "
_STATUS_START: Final = "Onefold is "
"""The beginnings of the line with which `onefold up` fails, and of the table that it prints when all is ready."""
_START_TIMEOUT_S: Final = 300.0
_STOP_TIMEOUT_S: Final = 90.0
_STATUS_TIMEOUT_S: Final = 10.0


def start_detached(layout: Layout, argv: Sequence[str], notify: Callable[[str], None]) -> dict[str, Any]:
    """Run `argv`, which is `onefold up` on this layout, in a session of its own. Return the stack's status once all is ready.

    Meanwhile `notify` gets the lines that the process prints.

    Raises Misconfigured when a stack runs there already, Permanent with the end of its log when the process ends while it starts,
    Transient when it is not ready in time, or waits for a decision of the operator; then it is left running.
    """
    layout.create_directories()
    if (pid := lock_holder(layout)) is not None:
        raise Misconfigured(f"{layout.root} is in use by `onefold up` with process id {pid}: stop it with `onefold down`")
    log = layout.logs / "up.log"
    log.write_bytes(b"")
    with log.open("ab") as out:  # appending, so that the stack can truncate the log while the process writes it
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
    follower = _LineFollower(log, notify)

    status: dict[str, Any] = {}

    def has_ended_or_is_ready() -> bool:
        has_ended = process.poll() is not None
        follower.read()
        status.update(_read_status(layout))
        return has_ended or bool(status.get("ready") or status.get("blocked"))

    try:
        is_ready = _wait_until(has_ended_or_is_ready, _START_TIMEOUT_S)
    except BaseException:  # Ctrl-C while it starts: nothing may stay behind
        process.terminate()
        process.wait()
        raise
    if process.poll() is not None:
        reason = log.read_text(errors="replace").rpartition(_ERROR_START)[2].strip()
        raise Permanent(reason or f"`onefold up` ended with {process.returncode}: see {log}")
    if not is_ready:
        raise Transient(f"`onefold up` is not ready after {_START_TIMEOUT_S:.0f} s: see {log}, stop it with `onefold down`")
    process.returncode = 0  # the process outlives this one: Popen must not warn that nobody waited for it
    if status["blocked"]:
        raise Transient(f"{status['blocked']}; `onefold up` waits for that, and goes on by itself")
    return status


def stop_and_wait(layout: Layout) -> bool:
    """Stop the stack that runs in `layout` and wait until its process has ended. Return False when none runs.

    Raises Transient when it has not ended in time.
    """
    if lock_holder(layout) is None:
        return False
    control.send_command(layout, "stop")
    if not _wait_until(lambda: lock_holder(layout) is None, _STOP_TIMEOUT_S):
        raise Transient(f"`onefold up` in {layout.root} has not ended after {_STOP_TIMEOUT_S:.0f} s: see {layout.logs}")
    return True


class _LineFollower:
    """Hands over the whole lines that a file has gained, up to the status or the error that comes last."""

    def __init__(self, file: Path, notify: Callable[[str], None]) -> None:
        self._file, self._notify = file, notify
        self._position, self._is_over = 0, False

    def read(self) -> None:
        with self._file.open("rb") as content:
            content.seek(self._position)
            added = content.read()
        whole = added[: added.rfind(b"\n") + 1]
        self._position += len(whole)
        for line in whole.decode("utf-8", "replace").splitlines():
            self._is_over = self._is_over or line.startswith((_ERROR_START, _STATUS_START))
            if not self._is_over:
                self._notify(line)


def _read_status(layout: Layout) -> dict[str, Any]:
    """Return the status of the stack, as far as it answers."""
    try:
        status: dict[str, Any] = control.send_command(layout, "status", timeout_s=_STATUS_TIMEOUT_S)
    except OnefoldError:
        return {}
    return status


def _wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Return whether `condition` became true in time."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.05)
    return True
