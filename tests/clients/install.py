"""Installs the Node packages of package-lock.json with the machine's npm, into a cache outside the tree.

Run as `python -m tests.clients.install`.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
FILES = ("package.json", "package-lock.json")


def directory() -> Path:
    """Return the directory where the packages of this exact lock file are installed."""
    told = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in FILES)).hexdigest()[:12]
    base = os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
    return Path(base) / "onefold" / f"clients-{told}"


def installed() -> Path | None:
    """Return the directory of the packages, or None unless all of them are installed."""
    return found if (found := directory()).joinpath(".ready").is_file() else None


def chromium() -> str | None:
    """Return the path of the browser's command, or None if no browser is installed."""
    return next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)


def main() -> int:
    """Install the packages that are missing; return 1 if npm is not installed."""
    if installed():
        return 0
    npm = shutil.which("npm")
    if npm is None:
        sys.stderr.write("npm is not on PATH: the clients in Node are not installed\n")
        return 1
    target = directory()
    target.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copy(HERE / name, target / name)
    done = subprocess.run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"], cwd=target, check=False)
    if done.returncode == 0:
        target.joinpath(".ready").touch()
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
