"""A disk of a few megabytes that a test can fill and free again: a tmpfs, which only root may mount."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

_PIECE_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class SmallDisk:
    """The file system at `path`."""

    path: Path

    @property
    def ballast(self) -> Path:
        return self.path / "ballast"

    def fill(self, *, leave_bytes: int = 0) -> None:
        """Write until nothing but `leave_bytes` is left."""
        piece = b"\0" * _PIECE_BYTES
        with self.ballast.open("ab", buffering=0) as file:
            try:
                while shutil.disk_usage(self.path).free > leave_bytes:
                    file.write(piece[: max(shutil.disk_usage(self.path).free - leave_bytes, 1)])
            except OSError:
                return

    def free(self) -> None:
        """Give back what `fill` took."""
        self.ballast.unlink(missing_ok=True)


@contextmanager
def small_disk(path: Path, megabytes: int) -> Iterator[SmallDisk]:
    """Mount a disk of this size at `path`; skip the test where that is impossible."""
    path.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0700", "tmpfs", str(path)]
    if os.geteuid() != 0 or subprocess.run(command, check=False).returncode != 0:
        pytest.skip("a small file system cannot be mounted here: that takes root and the right to mount")
    try:
        yield SmallDisk(path)
    finally:
        # lazily: a process that ends meanwhile may still have a file open
        subprocess.run(["umount", "--lazy", str(path)], check=True)
