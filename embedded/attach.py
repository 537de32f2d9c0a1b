"""Reach a running embedded stack from another process."""

from pathlib import Path

from embedded import ports, secrets
from embedded.directory_lock import lock_holder, not_running_error
from embedded.layout import Layout
from embedded.roles import PORT_NAMES, environment
from runtime.settings import Settings
from runtime.variables import read_settings


def variables_of_running(data_dir: Path) -> dict[str, str]:
    """Return the ONEFOLD_* variables of the stack that runs in `data_dir`. Raises Misconfigured if none does."""
    layout = Layout.of(data_dir)
    stored_ports = ports.read_ports(layout.run / "ports.json")
    if lock_holder(layout) is None or not set(PORT_NAMES) <= set(stored_ports) or not layout.secrets_file.exists():
        raise not_running_error(layout)
    return environment(layout, stored_ports, secrets.load_or_create(layout))


def settings_of_running(data_dir: Path) -> Settings:
    """Return settings that reach the stack which runs in `data_dir`; this process's environment decides the rest.

    Raises Misconfigured if nothing runs there.
    """
    return read_settings(variables_of_running(data_dir))
