"""Reach a running embedded stack from another process."""

from pathlib import Path

from pydantic import ValidationError

from embedded import ports, secrets
from embedded.layout import Layout
from embedded.directory_lock import holder
from embedded.roles import PORTS, environment
from runtime.errors import Misconfigured
from runtime.settings import Settings


def variables_for(data_dir: Path) -> dict[str, str]:
    """The ONEFOLD_* variables of the stack that runs in `data_dir`. Raises Misconfigured if none does."""
    layout = Layout.of(data_dir)
    known = ports.read(layout.run / "ports.json")
    if holder(layout) is None or not set(PORTS) <= set(known) or not (layout.run / "secrets.json").exists():
        raise not_up(layout)
    return environment(layout, known, secrets.load(layout.run / "secrets.json"))


def settings_for(data_dir: Path) -> Settings:
    """Settings that reach the stack that runs in `data_dir`; what it does not decide comes from this process's environment.

    Raises Misconfigured if nothing runs there.
    """
    return settings_from(variables_for(data_dir))


def settings_from(variables: dict[str, str]) -> Settings:
    """Settings in which `variables` (ONEFOLD_*) win over this process's environment.

    Raises Misconfigured, naming the variables that are wrong, never their values.
    """
    try:
        return Settings.model_validate({name.removeprefix("ONEFOLD_").lower(): value for name, value in variables.items()})
    except ValidationError as error:
        wrong = [(".".join(map(str, item["loc"])), item["msg"]) for item in error.errors(include_input=False)]
        raise Misconfigured("; ".join(f"ONEFOLD_{name.upper()}: {message}" for name, message in wrong)) from None


def not_up(layout: Layout) -> Misconfigured:
    """The error that says that no stack runs in this directory."""
    return Misconfigured(f"nothing runs in {layout.root}: start it with `onefold up`")
