"""analytics.js for the classic snippet, fetched once from its npm package, of which version and hash are pinned."""

import base64
import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import re2

from embedded.layout import explain_write_errors
from runtime.errors import Misconfigured

PACKAGE: Final = "@segment/analytics-next"
VERSION: Final = "1.84.3"
SHA512: Final = "5l7cPBzScxhfJ0zdcKQI4daDvMIWWUk7hClT1xGRelnHUltIEoQ9w8+ZpFPoWJMpX8D7IA1nVAfJbpiKi3XaKw=="
"""The SHA-512 hash of the package's tarball, in base64."""
_SERVED_FILE: Final = re2.compile(r"package/dist/umd/([A-Za-z0-9][A-Za-z0-9.-]*\.js)|package/(LICENSE[A-Za-z.]*)")
_MAX_FILE_BYTES: Final = 4 * 1024 * 1024
_TIMEOUT_S: Final = 120

Fetch = Callable[[Path], Path]
"""Brings the tarball into a directory; raises Misconfigured."""


def directory(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the directory of the files, for ONEFOLD_COLLECTOR_ANALYTICS_JS_DIR."""
    base = environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
    return Path(base) / "onefold" / f"analytics-js-{VERSION}"


def find_installed(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the directory with the files, or None when they were not fetched yet."""
    target = directory(environ)
    return target if (target / "standalone.js").is_file() else None


def fetch_by_npm(scratch: Path) -> Path:
    """Fetch the tarball with the machine's own npm, whose configuration has the registry and the proxy."""
    command = shutil.which("npm")
    if command is None:
        raise Misconfigured(f"npm is not on PATH: install it, or fetch {PACKAGE} {VERSION} elsewhere and give it as --tarball")
    argv = [command, "pack", f"{PACKAGE}@{VERSION}", "--pack-destination", str(scratch), "--ignore-scripts", "--silent"]
    try:
        completed = subprocess.run(
            argv, capture_output=True, timeout=_TIMEOUT_S, check=False, stdin=subprocess.DEVNULL, cwd=scratch
        )
    except subprocess.TimeoutExpired as error:
        raise Misconfigured(f"npm gave no answer in {_TIMEOUT_S} s: is its registry reachable?") from error
    tarballs = sorted(scratch.glob("*.tgz"))
    if completed.returncode != 0 or len(tarballs) != 1:
        raise Misconfigured(f"npm could not bring {PACKAGE} {VERSION} (exit {completed.returncode}): is its registry reachable?")
    return tarballs[0]


def install(target: Path, fetch: Fetch = fetch_by_npm) -> bool:
    """Put all files into `target`, or none. Return whether they were missing before. Raises Misconfigured."""
    if (target / "standalone.js").is_file():
        return False
    with explain_write_errors(target, "free about 2 MB there, or set XDG_CACHE_HOME to another place"):
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".analytics-js-", dir=target.parent))
        try:
            tarball, ready = fetch(scratch), scratch / "ready"
            ready.mkdir()
            _unpack(_verify_hash(tarball), ready)
            shutil.rmtree(target, ignore_errors=True)
            ready.rename(target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return True


def _verify_hash(tarball: Path) -> Path:
    with tarball.open("rb") as content:
        digest = base64.b64encode(hashlib.file_digest(content, "sha512").digest()).decode()
    if digest != SHA512:
        raise Misconfigured(
            f"the tarball's sha512 is not that of {PACKAGE} {VERSION}. It is not what Onefold was tested with: check the registry "
            "or proxy in between"
        )
    return tarball


def _unpack(tarball: Path, ready: Path) -> None:
    """Extract only the files that the collector serves, under their plain names."""
    with tarfile.open(tarball) as archive:
        for member in archive:
            match = _SERVED_FILE.fullmatch(member.name)
            content = archive.extractfile(member) if match and member.isfile() and member.size <= _MAX_FILE_BYTES else None
            if match and content is not None:
                (ready / (match[1] or match[2])).write_bytes(content.read())
    if not (ready / "standalone.js").is_file():
        raise Misconfigured(f"{PACKAGE} {VERSION} holds no standalone.js")
