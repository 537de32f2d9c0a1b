"""`onefold adopt`."""

import asyncio
import json
from dataclasses import asdict

import typer

from ops.adoption import adopt as adopt_log
from ops.cli.options import DEFAULT_DIR, AsJson, DataDir
from ops.connect import find_settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(adopt)


def adopt(*, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DIR) -> None:
    """Adopt the Kafka log that is there now in place of the one that Redis and ClickHouse belong to.

    That is right when the records of the old log are lost for good, and wrong when the address leads to another broker. The
    definitions are written to the new log from ClickHouse, and offsets count on. The processes go on by themselves.
    """
    adoption = asyncio.run(adopt_log(find_settings(data_dir)))
    if as_json:
        typer.echo(json.dumps(None if adoption is None else asdict(adoption)))
        return
    if adoption is None:
        typer.echo("Redis and ClickHouse belong to this Kafka log already: nothing was changed")
        return
    typer.echo(
        f"epoch {adoption.epoch}: {adoption.definitions:,} definitions were written to the new log, "
        f"{adoption.profiles:,} profiles are evaluated again; the processes go on by themselves"
    )
    if adoption.stores_differ:
        typer.echo(
            "Redis and ClickHouse had come to different offsets of the old log, so they differ: run `onefold rebuild profiles` "
            "when `onefold status` says that everything is ready"
        )
