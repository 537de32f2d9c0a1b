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
from embedded.layout import Layout
from embedded.directory_lock import holder
from embedded.roles import chosen
from embedded.up import up as run_stack
from runtime.errors import Misconfigured, OnefoldError, Permanent, Transient

DataDir = Annotated[
    Path, typer.Option("--data-dir", envvar="ONEFOLD_DATA_DIR", help="directory that holds everything of one stack")
]
DEFAULT_DIR = Path(".onefold")
_START_S, _STOP_S = 300.0, 90.0
_NOTHING = {"ready": False, "addresses": {}, "write_keys": {}, "roles": []}


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
        _detached(layout)
        return
    run_stack(layout, roles=chosen(), announce=lambda state: show(state, layout), say=say)


def down(data_dir: DataDir = DEFAULT_DIR) -> None:
    """Stop what `onefold up` started, and wait until it has ended."""
    layout = Layout.of(data_dir)
    if holder(layout) is None:
        say(f"nothing runs in {layout.root}")
        return
    control.ask(layout, "stop")
    if not _until(lambda: holder(layout) is None, _STOP_S):
        raise Transient(f"`onefold up` in {layout.root} has not ended after {_STOP_S:.0f} s: see {layout.logs}")


def status(
    *,
    data_dir: DataDir = DEFAULT_DIR,
    as_json: Annotated[bool, typer.Option("--json", help="print the state as JSON")] = False,
) -> None:
    """Show what runs and where. Exit 0 when all of it is ready, else 1."""
    layout = Layout.of(data_dir)
    try:
        state = control.ask(layout, "status")
    except OnefoldError:
        if as_json:
            typer.echo(json.dumps(_NOTHING))
        raise
    if as_json:
        typer.echo(json.dumps(state))
    else:
        show(state, layout)
    raise typer.Exit(0 if state["ready"] else 1)


def say(line: str) -> None:
    """Print a line at once; a terminal that has gone away is no reason to stop."""
    with suppress(OSError):
        print(line, flush=True)


def show(state: dict[str, Any], layout: Layout) -> None:
    """The state as two tables. Secrets stay in their file."""
    where = Table("address", "", title="Onefold is ready" if state["ready"] else "Onefold is not ready", title_justify="left")
    for name, address in state["addresses"].items():
        scheme, separator, rest = address.rpartition("://")
        where.add_row(name, f"{scheme}{separator}{rest.rpartition('@')[2]}")
    for source, key in state["write_keys"].items():
        where.add_row(f"write key of {source}", key)
    where.add_row("passwords and tokens", str(layout.run / "secrets.json"))
    what = Table("process", "pid", "ready", "restarts")
    for role in state["roles"]:
        what.add_row(role["name"], str(role["pid"] or "-"), "yes" if role["ready"] else "no", str(role["restarts"]))
    with suppress(OSError):
        console = Console(soft_wrap=True)
        console.print(where)
        console.print(what)


def _detached(layout: Layout) -> None:
    layout.make()
    if (pid := holder(layout)) is not None:
        raise Misconfigured(f"{layout.root} is in use by `onefold up` with process id {pid}: stop it with `onefold down`")
    log = layout.logs / "up.log"
    argv = [sys.executable, "-P", "-m", "ops.cli.main", "up", "--data-dir", str(layout.root)]
    log.write_bytes(b"")
    with log.open("ab") as out:  # appending, so that it can be cut while it is written
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
    try:
        ready = _until(lambda: process.poll() is not None or _is_ready(layout), _START_S)
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
    show(control.ask(layout, "status"), layout)


def _is_ready(layout: Layout) -> bool:
    try:
        return bool(control.ask(layout, "status", timeout_s=10)["ready"])
    except OnefoldError:
        return False


def _until(condition: Any, limit_s: float) -> bool:
    """Whether `condition` came true within the limit."""
    until = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True
