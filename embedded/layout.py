"""Where an embedded stack keeps what it owns."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import Misconfigured

MIN_FREE_BYTES = 256 * 1024 * 1024
_SOCKET_PATH_MAX = 100  # the kernel allows 107 bytes; Redis binds a temporary name beside it


@contextmanager
def explain_write_errors(path: Path, cure: str) -> Iterator[None]:
    """Turn an OSError of the block into Misconfigured: what could not be written, why, and `cure`."""
    try:
        yield
    except OSError as error:
        raise Misconfigured(f"cannot write in {path} ({error.strerror or type(error).__name__}): {cure}") from error


@dataclass(frozen=True, slots=True)
class Layout:
    """The directories and files of one data directory (`root` is absolute)."""

    root: Path

    @classmethod
    def of(cls, data_dir: Path) -> "Layout":
        """Return the layout of `data_dir`, made absolute."""
        return cls(data_dir.expanduser().absolute())

    @property
    def kafka(self) -> Path:
        return self.root / "kafka"

    @property
    def redis(self) -> Path:
        return self.root / "redis"

    @property
    def clickhouse(self) -> Path:
        return self.root / "clickhouse"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def secrets_file(self) -> Path:
        return self.run / "secrets.json"

    @property
    def api_tokens(self) -> Path:
        return self.run / "api-tokens.json"

    @property
    def lock_file(self) -> Path:
        return self.root / "up.lock"

    def holds_stored_data(self) -> bool:
        """Return whether one of the stores has written something here."""
        return any(directory.is_dir() and any(directory.iterdir()) for directory in (self.kafka, self.redis, self.clickhouse))

    def create_directories(self, *, min_free_bytes: int = MIN_FREE_BYTES) -> None:
        """Create every directory, for this user alone.

        Raises Misconfigured when the place cannot be written, has under `min_free_bytes` free, or is open to other users and not
        known to be a data directory of this user.
        """
        if "," in str(self.root) or not str(self.root).isprintable():
            raise Misconfigured(
                f"{str(self.root)!r} holds a comma or a control character, which Kafka cannot have: pass another --data-dir"
            )
        cure = "free space there or make it writable, or pass --data-dir (ONEFOLD_DATA_DIR) for another place"
        with explain_write_errors(self.root, cure):
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)  # it holds people's data
            self._make_private()
            for directory in (self.kafka, self.redis, self.clickhouse, self.logs, self.run):
                directory.mkdir(exist_ok=True)
            with tempfile.TemporaryFile(dir=self.run) as probe:
                probe.write(b"\0" * 4096)
            free = shutil.disk_usage(self.root).free
        if free < min_free_bytes:
            raise Misconfigured(
                f"only {free >> 20} MB free on the disk of {self.root}, the stores need at least {min_free_bytes >> 20} MB: {cure}"
            )

    def _make_private(self) -> None:
        """Take the directory's permissions away from other users, whatever they were when it was made.

        A directory with other files, such as a home directory given by mistake, is refused: to close it would be a surprise.
        """
        status = self.root.stat()
        if status.st_uid != os.getuid():
            raise Misconfigured(f"{self.root} belongs to another user: pass a --data-dir (ONEFOLD_DATA_DIR) of your own")
        if not status.st_mode & 0o077:
            return
        if any(self.root.iterdir()) and not self.run.is_dir():
            raise Misconfigured(
                f"{self.root} is open to other users and holds other files: pass an empty directory as --data-dir, or close "
                "this one with `chmod 700`"
            )
        self.root.chmod(0o700)

    def socket(self, name: str) -> Path:
        """Return the path of the unix socket `name`: in run/, or in a private temporary directory when that path is too long."""
        path = self.run / f"{name}.sock"
        if len(os.fsencode(path)) <= _SOCKET_PATH_MAX:
            return path
        digest = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:16]
        directory = Path(tempfile.gettempdir()) / f"onefold-{os.getuid()}-{digest}"
        directory.mkdir(mode=0o700, exist_ok=True)
        directory_stat = directory.lstat()
        if directory.is_symlink() or directory_stat.st_uid != os.getuid() or directory_stat.st_mode & 0o077:
            raise Misconfigured(f"{directory} is not a private directory of this user: remove it, or use a shorter --data-dir")
        return directory / f"{name}.sock"
