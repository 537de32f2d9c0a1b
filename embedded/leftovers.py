"""Children that outlived their `onefold up`."""

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from embedded.child_process import left_over

_GRACE_S = 20.0


def end_leftovers(run: Path, *, patience_s: float = 5.0) -> None:
    """End what the pid files in `run` still name, and wait for it. After a kill of `up` the kernel has already told them to stop
    (on Linux); they may need a moment, and two brokers must not share a directory. A process id in use by another is left alone."""
    files = [path for path in run.glob("*.pid") if left_over(path) is not None]
    # A role that hears a second SIGTERM leaves at once, so where the kernel has sent the first one, wait before sending another.
    told = [(None, patience_s)] if sys.platform.startswith("linux") else []
    for order, grace_s in (*told, (signal.SIGTERM, _GRACE_S), (signal.SIGKILL, 5.0)):
        for path in files:
            if order is not None and (pid := left_over(path)):
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, order)
        until = time.monotonic() + grace_s
        while any(left_over(path) is not None for path in files) and time.monotonic() < until:
            time.sleep(0.05)
    for path in run.glob("*.pid"):
        path.unlink(missing_ok=True)
