"""`onefold up`, `down` and `status`."""

import json
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from embedded import control
from embedded.directory_lock import lock_holder
from embedded.layout import Layout
from embedded.roles import selected_roles
from runtime.errors import Misconfigured, OnefoldError, Permanent, Transient

DataDir = Annotated[
    Path, typer.Option("--data-dir", envvar="ONEFOLD_DATA_DIR", help="directory that holds everything of one stack")
]
DEFAULT_DIR = Path(".onefold")
_START_S, _STOP_S = 300.0, 90.0
_STOPPED_STATE = {"ready": False, "addresses": {}, "write_keys": {}, "roles": []}


def register(app: typer.Typer) -> None:
    """Add the three commands."""
    app.command()(up)
    app.command()(down)
    app.command()(status)


def up(
    *,
    data_dir: DataDir = DEFAULT_DIR,
    detach: Annotated[bool, typer.Option("--detach", help="return once everything is ready, and leave it running")] = False,
) -> None:
    """Start Kafka, Redis, ClickHouse and all of Onefold on this machine.

    Further settings are taken from the environment: ONEFOLD_COLLECTOR_PORT, ONEFOLD_API_PORT (fixed ports), ONEFOLD_ROLES (run
    only these roles, comma separated), ONEFOLD_KAFKA_LIB (a directory with Kafka's jars), ONEFOLD_REDIS_SERVER (another server
    binary), JAVA_HOME, XDG_CACHE_HOME.
    """
    layout = Layout.of(data_dir)
    if detach:
        _start_detached(layout)
        return
    # Imported here, since `down` and `status` live in this module and need neither the drivers nor the settings.
    from embedded.up import up as run_stack
    from ops.prepare import prepare

    run_stack(
        layout,
        roles=selected_roles(),
        prepare=prepare,
        announce=lambda state: print_state(state, layout),
        notify=print_line,
    )


def down(data_dir: DataDir = DEFAULT_DIR) -> None:
    """Stop what `onefold up` started, and wait until it has ended."""
    layout = Layout.of(data_dir)
    if lock_holder(layout) is None:
        print_line(f"nothing runs in {layout.root}")
        return
    control.send_command(layout, "stop")
    if not _wait_until(lambda: lock_holder(layout) is None, _STOP_S):
        raise Transient(f"`onefold up` in {layout.root} has not ended after {_STOP_S:.0f} s: see {layout.logs}")


def status(
    *,
    data_dir: DataDir = DEFAULT_DIR,
    as_json: Annotated[bool, typer.Option("--json", help="print the state as JSON")] = False,
) -> None:
    """Show what runs and where.

    Exit 0 when all of it is ready, else 1.
    """
    layout = Layout.of(data_dir)
    try:
        state = control.send_command(layout, "status")
    except OnefoldError:
        if as_json:
            typer.echo(json.dumps(_STOPPED_STATE))
        raise
    if as_json:
        typer.echo(json.dumps(state))
    else:
        print_state(state, layout)
    raise typer.Exit(0 if state["ready"] else 1)


def print_line(line: str) -> None:
    """Print a line at once; a terminal that has gone away is no reason to stop."""
    with suppress(OSError):
        print(line, flush=True)


def print_state(state: dict[str, Any], layout: Layout) -> None:
    """The state as two tables. Secrets stay in their file."""
    address_table = Table(
        "address", "", title="Onefold is ready" if state["ready"] else "Onefold is not ready", title_justify="left"
    )
    for name, address in state["addresses"].items():
        scheme, separator, rest = address.rpartition("://")
        address_table.add_row(name, f"{scheme}{separator}{rest.rpartition('@')[2]}")
    for source, key in state["write_keys"].items():
        address_table.add_row(f"write key of {source}", key)
    address_table.add_row("passwords and tokens", str(layout.run / "secrets.json"))
    process_table = Table("process", "pid", "ready", "restarts")
    for role in state["roles"]:
        process_table.add_row(role["name"], str(role["pid"] or "-"), "yes" if role["ready"] else "no", str(role["restarts"]))
    with suppress(OSError):
        console = Console(soft_wrap=True)
        console.print(address_table)
        console.print(process_table)


def _start_detached(layout: Layout) -> None:
    layout.create_directories()
    if (pid := lock_holder(layout)) is not None:
        raise Misconfigured(f"{layout.root} is in use by `onefold up` with process id {pid}: stop it with `onefold down`")
    log = layout.logs / "up.log"
    argv = [sys.executable, "-P", "-m", "ops.cli.main", "up", "--data-dir", str(layout.root)]
    log.write_bytes(b"")
    with log.open("ab") as out:  # appending, so that it can be cut while it is written
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
    try:
        ready = _wait_until(lambda: process.poll() is not None or _is_ready(layout), _START_S)
    except BaseException:  # Ctrl-C while it starts: nothing may stay behind
        process.terminate()
        process.wait()
        raise
    if process.poll() is not None:
        lines = log.read_text(errors="replace").strip()
        raise Permanent(lines.removeprefix("onefold: ") or f"`onefold up` ended with {process.returncode}: see {log}")
    if not ready:
        raise Transient(f"`onefold up` is not ready after {_START_S:.0f} s: see {log}, stop it with `onefold down`")
    process.returncode = 0  # it lives on: not ours to wait for
    print_state(control.send_command(layout, "status"), layout)


def _is_ready(layout: Layout) -> bool:
    try:
        return bool(control.send_command(layout, "status", timeout_s=10)["ready"])
    except OnefoldError:
        return False


def _wait_until(condition: Any, limit_s: float) -> bool:
    """Whether `condition` came true within the limit."""
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
