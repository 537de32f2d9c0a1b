"""`onefold analytics-js`."""

from pathlib import Path
from typing import Annotated

import typer

from embedded.analytics_js import VERSION, directory, fetch_by_npm, install

Tarball = Annotated[Path | None, typer.Option(help="the package's tarball, where this machine cannot fetch it", exists=True)]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("analytics-js")(analytics_js)


def analytics_js(*, tarball: Tarball = None) -> None:
    """Fetch analytics.js for the classic snippet, which the collector serves.

    It is fetched once. Prints the directory in which the files lie.
    """
    target = directory()
    is_newly_installed = install(target, fetch_by_npm if tarball is None else lambda _: tarball)
    typer.echo(f"{target}\nanalytics.js {VERSION} {'is there now' if is_newly_installed else 'was there already'}.")
    typer.echo(f"Set ONEFOLD_COLLECTOR_ANALYTICS_JS_DIR={target} for collectors that `onefold up` does not start.")
