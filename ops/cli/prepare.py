"""`onefold prepare`."""

import asyncio

import typer

from ops.cli.options import DEFAULT_DIR, DataDir
from ops.connect import find_settings
from ops.prepare import prepare as prepare_stores


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(prepare)


def prepare(*, data_dir: DataDir = DEFAULT_DIR) -> None:
    """Create topics, tables and the source `default`.

    In server mode the write key of the source is taken from ONEFOLD_WRITE_KEY. Running the command again changes nothing.
    """
    prepared = asyncio.run(prepare_stores(find_settings(data_dir)))
    for name in prepared.migrations:
        typer.echo(f"migration {name}: applied")
    typer.echo("source default: written" if prepared.source_written else "source default: unchanged")
