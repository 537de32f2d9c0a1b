"""The environment of the engine's process: only what it needs, so that a statement that gets to read it finds no secret.

The kernel shows the environment that a process was started with for as long as it lives, whatever it deletes later. A process that
was started with more than it needs therefore starts itself anew, with the same process id.
"""

import os
import sys
from collections.abc import Mapping

NEEDED = frozenset({
    "PATH", "LANG", "LANGUAGE", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "ONEFOLD_LOG_LEVEL", "ONEFOLD_LOG_FORMAT",
    "__CF_USER_TEXT_ENCODING",  # macOS adds it to every process
})  # fmt: skip
NEEDED_PREFIXES = ("LC_", "ONEFOLD_HTTP_", "PYTHON", "COVERAGE_", "COV_CORE_")


def needed_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return those of the variables that the engine's process needs: where libraries are, how it logs, what its port allows."""
    return {name: value for name, value in environ.items() if name in NEEDED or name.startswith(NEEDED_PREFIXES)}


def drop_other_variables() -> None:
    """Start this program anew without the variables that it does not need; return at once when there are none."""
    needed = needed_variables(os.environ)
    if len(needed) < len(os.environ):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], needed)  # noqa: S606 - our own command line, no shell
