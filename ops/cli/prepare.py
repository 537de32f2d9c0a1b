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
    """Create topics, tables, and the sources `default` (public) and `server` (trusted).

    In server mode their write keys are taken from ONEFOLD_WRITE_KEY and ONEFOLD_SERVER_WRITE_KEY. Running the command again changes
    nothing.
    """
    prepared = asyncio.run(prepare_stores(find_settings(data_dir)))
    for name in prepared.migrations:
        typer.echo(f"migration {name}: applied")
    for name in prepared.sources_written:
        typer.echo(f"source {name}: written")
