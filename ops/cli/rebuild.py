"""`onefold rebuild profiles`."""

import asyncio
import json
from dataclasses import asdict
from pathlib import Path

import typer

from ops.cli.options import DEFAULT_DIR, AsJson, DataDir
from ops.connect import connect_with_store
from ops.rebuild.rebuild import Rebuild, RebuildResult
from runtime.clock import SystemClock


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Rebuild a store from another one.", no_args_is_help=True)
    group.callback()(_group_callback)
    group.command()(profiles)
    app.add_typer(group, name="rebuild")


def _group_callback() -> None:
    """Rebuild a store from another one."""


def profiles(*, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DIR) -> None:
    """Rebuild the profile store in Redis from ClickHouse.

    The stream workers pause meanwhile; the collector goes on accepting events.
    """
    rebuilt = asyncio.run(_rebuild(data_dir))
    if as_json:
        typer.echo(json.dumps(asdict(rebuilt)))
        return
    typer.echo(
        f"{rebuilt.events:,} events, {rebuilt.fragments:,} fragments, {rebuilt.profiles:,} profiles, "
        f"{rebuilt.memberships:,} with memberships\n"
        f"state hash before {rebuilt.before}\n"
        f"state hash after  {rebuilt.after}"
    )


async def _rebuild(data_dir: Path) -> RebuildResult:
    async with connect_with_store(data_dir) as (connection, store):
        return await Rebuild(connection.settings, connection.bus, store, connection.warehouse, SystemClock()).run()
