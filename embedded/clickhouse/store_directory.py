"""The store's directory: claimed for one process, with room to write, the configuration in it, as the working directory."""

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from embedded.clickhouse import configuration
from runtime.errors import Misconfigured

MIN_FREE_BYTES = 64 << 20


def claim_directory(path: Path) -> tuple[Path, BinaryIO]:
    """Claim the directory for this process. Return its resolved path and the open file that is the lock until it is closed.

    Raises:
        Misconfigured: when it cannot be made or written, is nearly full, or another process has it.
    """
    os.umask(0o077)
    with _explain_os_errors(path):
        path.mkdir(parents=True, exist_ok=True)
        directory = path.resolve()
        lock = (directory / "lock").open("ab")
    try:
        _lock(lock, path)
        with _explain_os_errors(path):
            _prepare(directory)
    except Misconfigured:
        lock.close()
        raise
    return directory, lock


def engine_memory() -> int:
    """Return how many bytes of this machine's memory the engine may use."""
    return configuration.memory_budget(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def _lock(lock: BinaryIO, path: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise Misconfigured(f"--path {path}: in use by another process; stop that one, or take another directory") from error


def _prepare(directory: Path) -> None:
    free = shutil.disk_usage(directory).free
    if free < MIN_FREE_BYTES:
        raise OSError(errno.ENOSPC, f"no space left ({free >> 20} MiB free, {MIN_FREE_BYTES >> 20} MiB needed)")
    configuration.write(directory, engine_memory())
    scratch = directory / "scratch"
    # the engine begins a new query log at every start, and statements of the last one shall not stay on the disk
    for leftover in (scratch, directory / "data" / "data" / "system"):
        shutil.rmtree(leftover, ignore_errors=True)
    scratch.mkdir()
    os.environ["TMPDIR"] = str(scratch)  # the engine makes a directory there when it is imported
    os.chdir(directory)


@contextlib.contextmanager
def _explain_os_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        cure = "free some space" if full else "take a directory that this user may write"
        raise Misconfigured(f"--path {path}: {error.strerror or 'cannot be used'}; {cure}") from error
