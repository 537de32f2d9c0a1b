"""One `onefold up` for each data directory."""

import fcntl
import json
import os
from types import TracebackType
from typing import IO, Self

from embedded.layout import Layout, writing
from runtime.errors import Misconfigured


class Claim:
    """The lock on a data directory while it is held. The kernel frees it when the process ends, however it ends."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()


def claim(layout: Layout) -> Claim:
    """Claim the data directory. Raises Misconfigured, naming the holder, when another process has it."""
    with writing(layout.root, "make it writable, or pass --data-dir (ONEFOLD_DATA_DIR) for another place"):
        file = layout.lock_file.open("a+")
    if not _locked(file):
        holder = _holder(file)
        file.close()
        by = f" by `onefold up` with process id {holder}" if holder else ""
        raise Misconfigured(
            f"{layout.root} is in use{by}: stop it with `onefold down`, or pass --data-dir (ONEFOLD_DATA_DIR) for another place"
        )
    with writing(layout.root, "free space there"):
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid()}))
        file.flush()
    return Claim(file)


def holder(layout: Layout) -> int | None:
    """The process id of the running `onefold up`, None when nothing holds the data directory."""
    try:
        file = layout.lock_file.open("r+")
    except OSError:
        return None
    with file:
        return None if _locked(file) else _holder(file)


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(file: IO[str]) -> int:
    """The process id in the file; 0 in the instant before its holder has written it."""
    file.seek(0)
    try:
        return int(json.load(file)["pid"])
    except (ValueError, KeyError, TypeError):
        return 0
