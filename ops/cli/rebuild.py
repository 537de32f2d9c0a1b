"""`onefold rebuild profiles`."""

import asyncio
import json
from dataclasses import asdict
from pathlib import Path

import typer

from ops.connect import (DEFAULT_DIR, AsJson, DataDir, reached_with_store)
from ops.rebuild.rebuild import Rebuild, Rebuilt
from runtime.clock import SystemClock


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Make a store anew from another one.", no_args_is_help=True)
    group.callback()(_group)
    group.command()(profiles)
    app.add_typer(group, name="rebuild")


def _group() -> None:
    """Make a store anew from another one."""


def profiles(*, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DIR) -> None:
    """Make the profile store in Redis anew from ClickHouse. The stream workers wait meanwhile; events go on coming in."""
    done = asyncio.run(_rebuild(data_dir))
    if as_json:
        typer.echo(json.dumps(asdict(done)))
        return
    typer.echo(
        f"{done.events:,} events, {done.fragments:,} fragments, {done.profiles:,} profiles, {done.memberships:,} with memberships\n"
        f"state hash before {done.before}\n"
        f"state hash after  {done.after}"
    )


async def _rebuild(data_dir: Path) -> Rebuilt:
    async with reached_with_store(data_dir) as (here, store):
        return await Rebuild(here.settings, here.bus, store, here.warehouse, SystemClock()).run()
