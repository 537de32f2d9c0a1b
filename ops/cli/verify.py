"""`onefold verify`."""

import asyncio
import json
from dataclasses import asdict
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from ops import definitions_topic as definitions
from ops.connect import (DEFAULT_DIR, AsJson, DataDir, reached_with_store)
from ops.rebuild.profile_state import rules_of
from ops.rebuild.compare_stores import Verified
from ops.rebuild.compare_stores import verify as look
from domain.segments.plan import Plan


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(verify)


def verify(*, data_dir: DataDir = DEFAULT_DIR, as_json: AsJson = False) -> None:
    """Hash the profiles and the evidence of Redis, and what ClickHouse's events come to. Exit 0 when they agree, else 1."""
    found = asyncio.run(_look(data_dir))
    if as_json:
        typer.echo(json.dumps(asdict(found)))
    else:
        table = Table(
            "store",
            "hash",
            "profiles",
            "evidence",
            title="The stores agree" if found.agree else "The stores differ",
            title_justify="left",
        )
        table.add_row("redis", found.redis, str(found.profiles_redis), found.evidence_redis)
        table.add_row("clickhouse", found.clickhouse, str(found.profiles_clickhouse), found.evidence_clickhouse)
        Console().print(table)
        if found.torn:
            typer.echo(f"{found.torn} labels and members of Redis contradict each other: run `onefold rebuild profiles`")
        if found.labels_differ:
            typer.echo(f"{found.labels_differ} identifiers are in another profile in ClickHouse: are the consumers running?")
    raise typer.Exit(0 if found.agree else 1)


async def _look(data_dir: Path) -> Verified:
    async with reached_with_store(data_dir) as (here, store):
        known = await definitions.live(here.settings, here.bus)
        return await look(store, here.warehouse, rules_of(here.settings, known), Plan(known.values()))
