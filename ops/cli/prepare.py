"""`onefold prepare`."""

import asyncio

import typer

from ops.prepare import prepare as make
from ops.connect import DEFAULT_DIR, DataDir, find


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(prepare)


def prepare(*, data_dir: DataDir = DEFAULT_DIR) -> None:
    """Make topics, tables and the source `default` (its key in server mode: ONEFOLD_WRITE_KEY). Doing it again changes nothing."""
    done = asyncio.run(make(find(data_dir)))
    for name in done.migrations:
        typer.echo(f"migration {name}: applied")
    typer.echo("source default: written" if done.source_written else "source default: unchanged")
