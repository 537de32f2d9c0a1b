"""Children that outlived their `onefold up`."""

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from embedded.child_process import surviving_pid

_GRACE_S = 20.0


def end_leftovers(run: Path, *, kernel_wait_s: float = 5.0) -> None:
    """End the processes that the pid files in `run` still name, and wait until they have ended.

    Two brokers must not share a directory. After a kill of `onefold up` the kernel has sent its children SIGTERM (on Linux),
    and they may need a moment. A process id that now belongs to another process is left alone.
    """
    files = [path for path in run.glob("*.pid") if surviving_pid(path) is not None]
    # A role that hears a second SIGTERM leaves at once, so where the kernel has sent the first one, wait before sending another.
    kernel_stage = [(None, kernel_wait_s)] if sys.platform.startswith("linux") else []
    for signal_number, grace_s in (*kernel_stage, (signal.SIGTERM, _GRACE_S), (signal.SIGKILL, 5.0)):
        for path in files:
            if signal_number is not None and (pid := surviving_pid(path)):
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal_number)
        deadline = time.monotonic() + grace_s
        while any(surviving_pid(path) is not None for path in files) and time.monotonic() < deadline:
            time.sleep(0.05)
    for path in run.glob("*.pid"):
        path.unlink(missing_ok=True)
