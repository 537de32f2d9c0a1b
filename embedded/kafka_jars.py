"""Kafka's jars: a committed list of coordinates and hashes, fetched once into a cache that is checked at every start."""

import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from embedded.layout import explain_write_errors
from embedded.maven import RepositoryUnreachable, fetch_with_jgo, fetch_with_mvn
from runtime.errors import Misconfigured

LOCK_FILE = Path(__file__).with_name("kafka.lock")
KAFKA_VERSION = "4.3.1"


@dataclass(frozen=True, slots=True)
class Jar:
    """One line of the lock."""

    group: str
    artifact: str
    version: str
    sha256: str
    size_bytes: int

    @property
    def coordinate(self) -> str:
        return f"{self.group}:{self.artifact}:{self.version}"

    @property
    def file_name(self) -> str:
        return f"{self.artifact}-{self.version}.jar"


# Brings the jars with these coordinates: coordinate -> file. May bring only some; raises Unreachable when it cannot.
Fetcher = Callable[[Sequence[str], Path], Mapping[str, Path]]


def read_lock(text: str) -> tuple[Jar, ...]:
    """Parse the text of a lock. Raises Misconfigured, naming the line, when it is not well formed."""
    jars = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        fields = line.split()
        parts = fields[0].split(":")
        if len(fields) != 3 or len(parts) != 3 or len(fields[1]) != 64 or not fields[2].isdigit():
            raise Misconfigured(f"kafka.lock line {number} is not `group:artifact:version sha256 bytes`: restore the file")
        group, artifact, version = parts
        jars.append(Jar(group, artifact, version, sha256=fields[1], size_bytes=int(fields[2])))
    return tuple(jars)


def cache_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the cache that all data directories of this user share."""
    base = environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
    return Path(base) / "onefold" / f"kafka-{KAFKA_VERSION}"


def kafka_jars(
    environ: Mapping[str, str] = os.environ,
    fetchers: Sequence[Fetcher] = (fetch_with_jgo, fetch_with_mvn),
    notify: Callable[[str], None] = lambda _: None,
) -> list[Path]:
    """Return every jar of Kafka, with the locked hash, from ONEFOLD_KAFKA_LIB if set, else from the cache, fetched if missing.

    `notify` gets a line before something is fetched.

    Raises Misconfigured: no network, a hash that differs, a cache that cannot be written.
    """
    jars = read_lock(LOCK_FILE.read_text())
    if lib := environ.get("ONEFOLD_KAFKA_LIB"):
        return _from_directory(jars, Path(lib))
    cache = cache_dir(environ)
    with explain_write_errors(cache, "free about 250 MB there, or set XDG_CACHE_HOME to another place"):
        cache.mkdir(parents=True, exist_ok=True)
        with (cache / ".lock").open("w") as lock_file:
            fcntl.flock(lock_file, fcntl.LOCK_EX)  # two starts at once: the second finds everything there
            missing = [jar for jar in jars if not (cache / jar.file_name).exists()]
            if missing:
                megabytes = sum(jar.size_bytes for jar in missing) / 1e6
                notify(f"fetching {len(missing)} jars of Kafka from Maven Central, {megabytes:.0f} MB, once for this machine")
            install_missing(jars, cache, fetchers)
    return [cache / jar.file_name for jar in jars]


def install_missing(jars: Sequence[Jar], cache: Path, fetchers: Sequence[Fetcher]) -> int:
    """Fetch every missing or damaged jar into `cache`, and return how many. Only a jar with the right hash is stored."""
    missing = {jar.coordinate: jar for jar in jars if not is_intact(cache / jar.file_name, jar)}
    missing_count, reason = len(missing), "no way to fetch it"
    for fetch in fetchers:
        if not missing:
            break
        scratch = Path(tempfile.mkdtemp(prefix=".fetch-", dir=cache))
        try:
            for coordinate, file in _fetch_with_retries(fetch, sorted(missing), scratch).items():
                if not is_intact(file, missing[coordinate]):
                    raise Misconfigured(
                        f"{coordinate}: sha256 differs from the lock. What answered is not what Onefold was tested with: "
                        "check the Maven mirror or proxy in between, or set ONEFOLD_KAFKA_LIB to a directory with the right jars"
                    )
                file.replace(cache / missing.pop(coordinate).file_name)
        except RepositoryUnreachable as error:
            reason = str(error)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    if missing:
        raise Misconfigured(
            f"cannot fetch {min(missing)} ({reason}). Kafka's jars come once from the Maven repository: connect once, "
            "or set ONEFOLD_KAFKA_LIB to a directory with them"
        )
    return missing_count


def is_intact(file: Path, jar: Jar) -> bool:
    """Return whether `file` exists and has the hash of the lock."""
    try:
        if file.stat().st_size != jar.size_bytes:
            return False
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest() == jar.sha256
    except FileNotFoundError:
        return False


def _fetch_with_retries(fetch: Fetcher, coordinates: Sequence[str], scratch: Path, attempts: int = 3) -> Mapping[str, Path]:
    for attempt in range(1, attempts):
        try:
            return fetch(coordinates, scratch)
        except RepositoryUnreachable as error:
            if not error.is_transient:
                raise
            time.sleep(attempt)
    return fetch(coordinates, scratch)


def _from_directory(jars: Sequence[Jar], directory: Path) -> list[Path]:
    for jar in jars:
        if not is_intact(directory / jar.file_name, jar):
            raise Misconfigured(
                f"ONEFOLD_KAFKA_LIB={directory} lacks {jar.file_name} with sha256 {jar.sha256}: "
                "put that file there, or unset the variable"
            )
    return [directory / jar.file_name for jar in jars]
