"""Secrets from files: `ONEFOLD_KAFKA_PASSWORD_FILE` names the file of ONEFOLD_KAFKA_PASSWORD, and so for every secret setting.

A container's or a service manager's secrets are files. Unlike variables they are neither inherited by child processes nor shown by
tools that list the environment.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from runtime.errors import Misconfigured

SUFFIX: Final = "_FILE"
MAX_BYTES: Final = 64 * 1024


def read_secret_files(names: Iterable[str], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the values of those variables among `names` whose file the environment names. An empty name of a file is none.

    Raises Misconfigured when a variable is set as well as its file, and for a file that cannot be read or is empty.
    """
    values = {}
    for name in names:
        if path := environ.get(name + SUFFIX, ""):
            if environ.get(name):
                raise Misconfigured(f"{name} and {name}{SUFFIX} are both set: leave out one of them")
            values[name] = _read(name + SUFFIX, Path(path))
    return values


def _read(variable: str, path: Path) -> str:
    try:
        with path.open("rb") as content:
            raw = content.read(MAX_BYTES + 1)
        text = raw.decode("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        kind = (isinstance(error, OSError) and error.strerror) or "it is no text in UTF-8"
        raise Misconfigured(
            f"{variable}: the file cannot be read ({kind}): write the secret there, readable by this user"
        ) from error
    if not text or len(raw) > MAX_BYTES:
        raise Misconfigured(
            f"{variable}: the file is empty or larger than {MAX_BYTES >> 10} KiB: write the secret there, and nothing else"
        )
    return text
