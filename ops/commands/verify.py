"""`onefold verify`."""

import asyncio
import json
from dataclasses import asdict
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from ops.reach import DEFAULT_DIR, AsJson, DataDir, reached_with_store
from ops.verify import Verified
from ops.verify import verify as look


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(verify)


def verify(*, data_dir: DataDir = DEFAULT_DIR, as_json: AsJson = False) -> None:
    """Hash the profiles of Redis and those that ClickHouse's events come to. Exit 0 when they agree, else 1."""
    found = asyncio.run(_look(data_dir))
    if as_json:
        typer.echo(json.dumps(asdict(found)))
    else:
        table = Table(
            "store", "hash", "profiles", title="The stores agree" if found.agree else "The stores differ", title_justify="left"
        )
        table.add_row("redis", found.redis, str(found.profiles_redis))
        table.add_row("clickhouse", found.clickhouse, str(found.profiles_clickhouse))
        Console().print(table)
        if found.torn:
            typer.echo(f"{found.torn} labels and members of Redis contradict each other: run `onefold rebuild profiles`")
    raise typer.Exit(0 if found.agree else 1)


async def _look(data_dir: Path) -> Verified:
    async with reached_with_store(data_dir) as (here, store):
        return await look(store, here.warehouse)
