"""Child processes: what one is, and how it is tied to its parent's life."""

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform.startswith("linux") else None
_PR_SET_PDEATHSIG = 1
LIVENESS_INTERVAL_S = 5.0
"""How long after a check of a running child the next one comes."""
LIVENESS_TIMEOUT_S = 5.0
"""How long a child may take to answer such a check."""
LIVENESS_FAILURES = 6
"""So many failed checks in a row mean that the child hangs: half a minute to a minute, longer than any pause of a healthy one."""


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """A child to run; `extra_logs` are files it writes by itself.

    `is_ready` asks whether it can do its work, which may depend on others. `is_alive` asks whether it answers at all: a child that
    does not is replaced. None asks `is_ready` instead. Both are called in a thread.
    """

    name: str
    argv: Sequence[str]
    is_ready: Callable[[], bool]
    log: Path
    env: Mapping[str, str] | None = None
    extra_logs: Sequence[Path] = ()
    start_timeout_s: float = 180.0
    grace_s: float = 20.0
    is_alive: Callable[[], bool] | None = None
    liveness_interval_s: float = LIVENESS_INTERVAL_S

    def tail(self, line_count: int = 8) -> str:
        """Return the last lines of the child's logs, indented, for an error message."""
        tail_lines: list[str] = []
        for path in (*self.extra_logs, self.log):
            if path.exists():
                with path.open("rb") as content:
                    content.seek(max(0, path.stat().st_size - 8192))
                    tail_lines += content.read().decode(errors="replace").splitlines()[-line_count:]
        return "\n".join(f"    {line}" for line in tail_lines)


def tie_to(parent_pid: int) -> Callable[[], None]:
    """Return the function that ties a child to its parent's life; the child runs it between fork and exec.

    The child gets a process group of its own, so that Ctrl-C reaches the parent alone, and the kernel sends it SIGTERM when the
    thread that forked it ends. Fork from the main thread, since any other thread may end before the parent does.
    """

    def before_exec() -> None:
        os.setpgid(0, 0)
        if _LIBC is not None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent_pid:  # it died between fork and prctl
            os._exit(1)

    return before_exec


def process_identity(pid: int) -> str | None:
    """Return what tells process `pid` from a later one with the same number; None if it has ended (a zombie has)."""
    if sys.platform.startswith("linux"):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return None
        return None if fields[0] in "ZX" else f"{boot}:{fields[19]}"
    completed = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)  # noqa: S607
    return completed.stdout.strip() or None


def write_pid(path: Path, pid: int) -> None:
    """Remember that `pid` runs."""
    path.write_text(json.dumps({"pid": pid, "identity": process_identity(pid)}))


def surviving_pid(path: Path) -> int | None:
    """Return the process id in the pid file `path`, if that very process still runs."""
    try:
        stored = json.loads(path.read_text())
        pid, stored_identity = int(stored["pid"]), stored["identity"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return pid if stored_identity and process_identity(pid) == stored_identity else None
