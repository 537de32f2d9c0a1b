"""The environment variables of Onefold: a misspelled or unreadable one is an error, since ignoring it would run another value."""

import difflib
import os
from collections.abc import Mapping
from typing import Final

from pydantic import ValidationError

from runtime.errors import Misconfigured
from runtime.secret_files import SUFFIX, read_secret_files
from runtime.settings import Settings, secret_fields
from runtime.validation_words import describe_error

PREFIX: Final = "ONEFOLD_"
# Variables that are no settings of a process: of `onefold up`, of Compose, and of options of commands.
_OTHERS: Final = frozenset({
    "ONEFOLD_ROLES", "ONEFOLD_KAFKA_LIB", "ONEFOLD_REDIS_SERVER", "ONEFOLD_REDIS_MAX_MEMORY_BYTES", "ONEFOLD_COLLECTOR_URL",
})  # fmt: skip
WRITE_KEYS: Final = ("ONEFOLD_WRITE_KEY", "ONEFOLD_SERVER_WRITE_KEY")
"""The write keys of the sources `default` and `server`, for the commands that declare them and send with them."""
_PREFIXES: Final = (
    "ONEFOLD_DEMO_",
    "ONEFOLD_TEST_",
    "ONEFOLD_LAWS_",
    "ONEFOLD_CHAOS_",
    "ONEFOLD_FUZZ_",
    "ONEFOLD_CLIENTS",
    "ONEFOLD_PICTURE",
)
"""Beginnings of the variables of the demo and of the project's own tests."""


def known_variables() -> frozenset[str]:
    """Return the names of all variables that have a meaning by themselves."""
    settings = {PREFIX + name.upper() for name in Settings.model_fields}
    return _OTHERS | settings | set(secret_variables()) | {name + SUFFIX for name in secret_variables()}


def secret_variables() -> tuple[str, ...]:
    """Return the names of the variables whose value is a secret, and which may name a file instead."""
    return (*(PREFIX + name.upper() for name in secret_fields()), *WRITE_KEYS)


def check_names(environ: Mapping[str, str] = os.environ) -> None:
    """Raise Misconfigured, with the nearest name, for ONEFOLD_* variables that mean nothing.

    A definition may name the variable of a secret; such a name ends with _SECRET and is left alone unless it misspells one of ours.
    """
    known = known_variables()
    faults = []
    for name in sorted(name for name in environ if name.startswith(PREFIX)):
        if name in known or name.startswith(_PREFIXES):
            continue
        nearest = difflib.get_close_matches(name, known, 1, 0.85)
        if nearest or not name.endswith("_SECRET"):
            cure = f"did you mean {nearest[0]}?" if nearest else "unset it; docs/configuration.md lists all"
            faults.append(f"{name} is no variable of Onefold: {cure}")
    if faults:
        raise Misconfigured("; ".join(faults))


def read_settings(variables: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of this process's environment, in which `variables` (ONEFOLD_*) win.

    Raises Misconfigured, which names the variables that are unknown or wrong, never their values.
    """
    check_names()
    given = dict(variables or {})
    names = (PREFIX + name.upper() for name in secret_fields())
    from_files = read_secret_files([name for name in names if name not in given], os.environ)
    try:
        return Settings.model_validate({name.removeprefix(PREFIX).lower(): value for name, value in (from_files | given).items()})
    except ValidationError as error:
        faults = []
        for problem in error.errors(include_input=False, include_url=False):
            name = "_".join(str(part) for part in problem["loc"]).upper()
            faults.append(f"{PREFIX}{name}: {describe_error(problem)}" if name else describe_error(problem))
        raise Misconfigured("; ".join(faults)) from None


def check_environment(environ: Mapping[str, str] = os.environ) -> None:
    """Raise Misconfigured for every variable that is unknown or cannot be read, before anything is started or asked."""
    mode = environ.get("ONEFOLD_MODE", "embedded")
    if mode not in ("embedded", "server"):
        raise Misconfigured("ONEFOLD_MODE: must be embedded or server")
    read_settings({"ONEFOLD_MODE": "embedded"} if mode == "embedded" else None)
