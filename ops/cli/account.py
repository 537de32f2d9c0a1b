"""`onefold account`."""

import asyncio
import json
from dataclasses import asdict
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from domain.intake.event_account import EventAccount
from ops.account import measure
from ops.cli.options import DEFAULT_DIR, AsJson, DataDir
from ops.connect import connect


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(account)


def account(*, data_dir: DataDir = DEFAULT_DIR, as_json: AsJson = False) -> None:
    """Add up what became of every accepted event.

    Exit 0 when the account balances, else 1.
    """
    event_account = asyncio.run(_measure(data_dir))
    if as_json:
        typer.echo(json.dumps(asdict(event_account)))
    else:
        _print_table(event_account)
    raise typer.Exit(0 if event_account.balanced else 1)


async def _measure(data_dir: Path) -> EventAccount:
    async with connect(data_dir) as connection:
        return await measure(connection.settings, connection.bus, connection.warehouse)


def _print_table(event_account: EventAccount) -> None:
    table = Table("", "events", title="Balanced" if event_account.balanced else "Not balanced", title_justify="left")
    table.columns[1].justify = "right"
    for name, count in asdict(event_account).items():
        if name != "balanced":
            table.add_row(name.replace("_", " "), f"{count:,}")
    Console().print(table)
