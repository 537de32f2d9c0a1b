"""`onefold verify`."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import typer

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
        typer.echo("The stores agree" if comparison.agree else "The stores differ")
        for line in comparison_lines(comparison):
            typer.echo(line)
        if comparison.torn:
            typer.echo(f"{comparison.torn} labels and members of Redis contradict each other: run `onefold rebuild profiles`")
        if comparison.labels_differ:
            typer.echo(f"{comparison.labels_differ} identifiers are in another profile in ClickHouse: are the consumers running?")
    raise typer.Exit(0 if comparison.agree else 1)


def comparison_lines(comparison: StoreComparison) -> Iterator[str]:
    """Yield the lines of both stores. A hash has a line of its own, so that 80 columns hold it."""
    for store, profiles, profile_hash, evidence_hash in (
        ("redis", comparison.profiles_redis, comparison.redis, comparison.evidence_redis),
        ("clickhouse", comparison.profiles_clickhouse, comparison.clickhouse, comparison.evidence_clickhouse),
    ):
        yield f"{store}: {profiles:,} profiles"
        yield f"  profiles  {profile_hash}"
        yield f"  evidence  {evidence_hash}"


async def _compare(data_dir: Path) -> StoreComparison:
    async with connect_with_store(data_dir) as (connection, store):
        live_definitions = await definitions_topic.read_live(connection.settings, connection.bus)
        return await compare_stores(
            store,
            connection.warehouse,
            connection.settings.tenant_key,
            definitions_topic.identity_rules_of(connection.settings, live_definitions),
            segment_plan_of(live_definitions.values()),
        )
