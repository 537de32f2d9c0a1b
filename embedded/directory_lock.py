"""One `onefold up` for each data directory."""

import fcntl
import json
import os
from types import TracebackType
from typing import IO, Self

from embedded.layout import Layout, explain_write_errors
from runtime.errors import Misconfigured


class DirectoryLock:
    """The lock on a data directory while it is held. The kernel frees it when the process ends, however it ends."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()


def lock_directory(layout: Layout) -> DirectoryLock:
    """Claim the data directory. Raises Misconfigured, naming the holder, when another process has it."""
    with explain_write_errors(layout.root, "make it writable, or pass --data-dir (ONEFOLD_DATA_DIR) for another place"):
        file = layout.lock_file.open("a+")
    if not _try_lock(file):
        holder_pid = _read_holder(file)
        file.close()
        by = f" by `onefold up` with process id {holder_pid}" if holder_pid else ""
        raise Misconfigured(
            f"{layout.root} is in use{by}: stop it with `onefold down`, or pass --data-dir (ONEFOLD_DATA_DIR) for another place"
        )
    with explain_write_errors(layout.root, "free space there"):
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid()}))
        file.flush()
    return DirectoryLock(file)


def lock_holder(layout: Layout) -> int | None:
    """Return the process id of the running `onefold up`; None when no process has locked the data directory."""
    try:
        file = layout.lock_file.open("r+")
    except OSError:
        return None
    with file:
        return None if _try_lock(file) else _read_holder(file)


def not_running_error(layout: Layout) -> Misconfigured:
    """Return the error which says that no stack runs in this directory, and how to start one."""
    return Misconfigured(f"nothing runs in {layout.root}: start it with `onefold up`")


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read_holder(file: IO[str]) -> int:
    """Return the process id in the file; 0 in the instant before its owner has written it."""
    file.seek(0)
    try:
        return int(json.load(file)["pid"])
    except (ValueError, KeyError, TypeError):
        return 0
