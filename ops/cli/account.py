"""`onefold account`."""

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from domain.intake.event_account import EventAccount
from ops.account import measure
from ops.account_repair import AccountRepair, RepairResult
from ops.cli.options import DEFAULT_DIR, AsJson, DataDir
from ops.cli.progress import progress_on_stderr
from ops.cli.terminal import open_console
from ops.connect import connect
from runtime.clock import SystemClock

Repair = Annotated[bool, typer.Option("--repair", help="First read again from Kafka what ClickHouse has lost, and insert it.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(account)


def account(*, repair: Repair = False, data_dir: DataDir = DEFAULT_DIR, as_json: AsJson = False) -> None:
    """Add up what became of every accepted event.

    Exit 0 when the account balances, else 1.
    """
    event_account, repaired = asyncio.run(_measure(data_dir, repair=repair))
    if as_json:
        typer.echo(json.dumps(asdict(event_account) | ({} if repaired is None else {"repair": asdict(repaired)})))
    else:
        if repaired is not None:
            _print_repair(repaired)
        _print_table(event_account)
    raise typer.Exit(0 if event_account.balanced else 1)


async def _measure(data_dir: Path, *, repair: bool) -> tuple[EventAccount, RepairResult | None]:
    async with connect(data_dir) as connection:
        settings, bus, warehouse = connection.settings, connection.bus, connection.warehouse
        repaired = None
        if repair:
            with progress_on_stderr() as report:
                repaired = await AccountRepair(settings, bus, warehouse, SystemClock(), report).run()
        return await measure(settings, bus, warehouse), repaired


def _print_repair(repaired: RepairResult) -> None:
    typer.echo(f"Read again from Kafka: {repaired.repaired:,} events, of which ClickHouse refuses {repaired.quarantined:,}")
    if repaired.lost:
        typer.echo(f"Lost: {repaired.lost:,} events, which Kafka no longer has")


def _print_table(event_account: EventAccount) -> None:
    table = Table("", "events", title="Balanced" if event_account.balanced else "Not balanced", title_justify="left")
    table.columns[1].justify = "right"
    for name, count in asdict(event_account).items():
        if name != "balanced":
            table.add_row(name.replace("_", " "), f"{count:,}")
    open_console().print(table)
