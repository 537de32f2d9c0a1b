"""`onefold account`."""

import asyncio
import json
from dataclasses import asdict
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from ops.account import Account, take
from ops.connect import (DEFAULT_DIR, AsJson, DataDir, reached)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(account)


def account(*, data_dir: DataDir = DEFAULT_DIR, as_json: AsJson = False) -> None:
    """Add up what became of every accepted event. Exit 0 when it balances, else 1."""
    now = asyncio.run(_take(data_dir))
    if as_json:
        typer.echo(json.dumps(asdict(now)))
    else:
        _show(now)
    raise typer.Exit(0 if now.balanced else 1)


async def _take(data_dir: Path) -> Account:
    async with reached(data_dir) as here:
        return await take(here.settings, here.bus, here.warehouse)


def _show(now: Account) -> None:
    table = Table("", "events", title="Balanced" if now.balanced else "Not balanced", title_justify="left")
    table.columns[1].justify = "right"
    for name, count in asdict(now).items():
        if name != "balanced":
            table.add_row(name.replace("_", " "), f"{count:,}")
    Console().print(table)
