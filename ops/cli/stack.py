"""`onefold up`, `down` and `status`."""

import asyncio
import json
import shlex
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from embedded import control
from embedded.detached import start_detached, stop_and_wait
from embedded.layout import Layout
from embedded.roles import selected_roles
from ops.cli.options import DEFAULT_DIR, AsJson, DataDir
from ops.cli.terminal import open_console
from runtime.errors import Invalid, OnefoldError, Transient

_STOPPED_STATUS: Final = {"ready": False, "blocked": "", "addresses": {}, "write_keys": {}, "waits": [], "roles": []}
Detach = Annotated[bool, typer.Option("--detach", help="return once everything is ready, and leave it running")]
AsEnvironment = Annotated[bool, typer.Option("--env", help='print export lines, for eval "$(onefold status --env)"')]


def register(app: typer.Typer) -> None:
    """Add the three commands."""
    app.command()(up)
    app.command()(down)
    app.command()(status)


def up(*, data_dir: DataDir = DEFAULT_DIR, detach: Detach = False) -> None:
    """Start Kafka, Redis, ClickHouse and all of Onefold on this machine.

    Further settings are taken from the environment: ONEFOLD_COLLECTOR_PORT, ONEFOLD_API_PORT (fixed ports), ONEFOLD_ROLES (run
    only these roles, comma separated), ONEFOLD_KAFKA_LIB (a directory with Kafka's jars), ONEFOLD_REDIS_SERVER (another server
    binary), JAVA_HOME, XDG_CACHE_HOME.
    """
    layout = Layout.of(data_dir)
    if detach:
        argv = [sys.executable, "-P", "-m", "ops.cli.main", "up", "--data-dir", str(layout.root)]
        print_status(start_detached(layout, argv, print_line), layout)
        return
    # Imported here, since `down` and `status` live in this module and need neither the drivers nor the settings.
    from embedded.up import up as run_stack
    from ops.prepare import prepare

    run_stack(
        layout,
        roles=selected_roles(),
        prepare=prepare,
        # What goes into a file is a log, and a log must hold no key.
        announce=lambda state: print_status(state, layout, shows_keys=sys.stdout.isatty()),
        notify=print_line,
    )


def down(data_dir: DataDir = DEFAULT_DIR) -> None:
    """Stop what `onefold up` started, and wait until it has ended."""
    layout = Layout.of(data_dir)
    if not stop_and_wait(layout):
        print_line(f"nothing runs in {layout.root}")


def status(*, data_dir: DataDir = DEFAULT_DIR, as_json: AsJson = False, as_environment: AsEnvironment = False) -> None:
    """Show which processes run, and the addresses.

    While changed identity rules are brought to all profiles it also shows how far that is. Exit 0 when everything is ready, else 1.
    """
    if as_json and as_environment:
        raise Invalid("choose --json or --env", path="env")
    layout = Layout.of(data_dir)
    try:
        state = control.send_command(layout, "status")
    except OnefoldError:
        if as_json:
            typer.echo(json.dumps(_STOPPED_STATUS))
        raise
    if not as_environment:
        state["identity_rules"] = asyncio.run(_rules_round(data_dir)) if state["ready"] else None
    if as_json:
        typer.echo(json.dumps(state))
    elif as_environment:
        typer.echo("\n".join(export_lines(state)))
    else:
        print_status(state, layout)
    raise typer.Exit(0 if state["ready"] else 1)


async def _rules_round(data_dir: Path) -> dict[str, int] | None:
    """Return how many identifiers follow changed identity rules; None when no change is under way or Redis does not answer."""
    from ops.connect import find_settings  # with the store below: the Redis driver is loaded for a stack that runs, and not before
    from profile_store.connect import open_store
    from profile_store.link_state import load_link_state
    from runtime.clock import SystemClock

    store = open_store(find_settings(data_dir), SystemClock())
    try:
        state = await load_link_state(store)
    except Transient:
        return None
    finally:
        await store.aclose()
    return {"resolved": state.round_resolved, "nodes": state.round_nodes} if state.round_nodes else None


def export_lines(state: dict[str, Any]) -> Iterator[str]:
    """Yield shell lines that set the addresses (COLLECTOR, API, CLICKHOUSE, KAFKA, REDIS), write keys, API_TOKEN and the logins.

    Kafka's are KAFKA_SECURITY_PROTOCOL, KAFKA_SASL_MECHANISM, KAFKA_USER, KAFKA_PASSWORD and KAFKA_PROPERTIES_FILE, those of
    redis-cli REDIS_SOCKET and REDISCLI_AUTH.

    WRITE_KEY is the key of the public source `default`, SERVER_WRITE_KEY that of the trusted source `server`; one is empty when its
    source has it no longer. Values are quoted for a POSIX shell.
    """
    variables = {name.upper(): address for name, address in state["addresses"].items()}
    variables |= {"WRITE_KEY": state["write_keys"].get("default", ""), "SERVER_WRITE_KEY": state["write_keys"].get("server", "")}
    variables["API_TOKEN"] = state["api_token"]
    variables |= {f"KAFKA_{name.upper()}": value for name, value in state["kafka_login"].items()}
    variables |= {"REDIS_SOCKET": state["redis_login"]["socket"], "REDISCLI_AUTH": state["redis_login"]["password"]}
    for name, value in variables.items():
        yield f"export {name}={shlex.quote(value)}"


def print_line(line: str) -> None:
    """Print a line at once. An error of the terminal is ignored, because it must not stop the stack."""
    with suppress(OSError):
        print(line, flush=True)


def print_status(state: dict[str, Any], layout: Layout, *, shows_keys: bool = True) -> None:
    """Print the status as two tables. Passwords and tokens stay in their file, and write keys too unless `shows_keys`."""
    from rich.table import Table  # half of the start-up time of `onefold status --json`
    from rich.text import Text

    title = "Onefold is ready" if state["ready"] else "Onefold is not ready"
    address_table = Table("address", "", title=title, title_justify="left")
    for name, address in state["addresses"].items():
        scheme, separator, rest = address.rpartition("://")
        address_table.add_row(name, f"{scheme}{separator}{rest.rpartition('@')[2]}")
    for source, key in state["write_keys"].items():
        address_table.add_row(f"write key of {source}", key if shows_keys else "shown by `onefold status`")
    address_table.add_row("login of Kafka's tools", state["kafka_login"]["properties_file"])
    address_table.add_row("passwords and tokens", str(layout.secrets_file))
    if rules_round := state.get("identity_rules"):
        address_table.add_row(
            "new identity rules", f"{rules_round['resolved']:,} of {rules_round['nodes']:,} identifiers follow them"
        )
    process_table = Table("process", "pid", "ready", "restarts")
    for role in state["roles"]:
        process_table.add_row(role["name"], str(role["pid"] or "-"), "yes" if role["ready"] else "no", str(role["restarts"]))
    with suppress(OSError):
        console = open_console(soft_wrap=True)
        console.print(address_table)
        console.print(process_table)
        for sentence in state["waits"]:
            console.print(Text(f"waits: {sentence}", style="yellow"))
