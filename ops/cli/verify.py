"""`onefold verify`."""

import asyncio
import json
from dataclasses import asdict
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from domain.definitions.segment_plan import segment_plan_of
from ops import definitions_topic
from ops.cli.options import DEFAULT_DIR, AsJson, DataDir
from ops.connect import connect_with_store
from ops.rebuild.compare_stores import StoreComparison, compare_stores


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(verify)


def verify(*, data_dir: DataDir = DEFAULT_DIR, as_json: AsJson = False) -> None:
    """Compare state hashes of Redis and of ClickHouse's events.

    Profiles and identity evidence are hashed as Redis stores them, and as they are recomputed from the events in ClickHouse.
    Exit 0 when the hashes agree, else 1.
    """
    comparison = asyncio.run(_compare(data_dir))
    if as_json:
        typer.echo(json.dumps(asdict(comparison)))
    else:
        table = Table(
            "store",
            "hash",
            "profiles",
            "evidence",
            title="The stores agree" if comparison.agree else "The stores differ",
            title_justify="left",
        )
        table.add_row("redis", comparison.redis, str(comparison.profiles_redis), comparison.evidence_redis)
        table.add_row("clickhouse", comparison.clickhouse, str(comparison.profiles_clickhouse), comparison.evidence_clickhouse)
        Console().print(table)
        if comparison.torn:
            typer.echo(f"{comparison.torn} labels and members of Redis contradict each other: run `onefold rebuild profiles`")
        if comparison.labels_differ:
            typer.echo(f"{comparison.labels_differ} identifiers are in another profile in ClickHouse: are the consumers running?")
    raise typer.Exit(0 if comparison.agree else 1)


async def _compare(data_dir: Path) -> StoreComparison:
    async with connect_with_store(data_dir) as (connection, store):
        live_definitions = await definitions_topic.read_live(connection.settings, connection.bus)
        return await compare_stores(
            store,
            connection.warehouse,
            connection.settings.tenant_secret.get_secret_value().encode(),
            definitions_topic.identity_rules_of(connection.settings, live_definitions),
            segment_plan_of(live_definitions.values()),
        )
