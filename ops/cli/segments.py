"""`onefold segments`: what each of its commands does stands in a module of its own."""

import typer

from ops.segments.commands import verify, why
from ops.segments.preview import preview


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Show who is in a segment and why, and whether the stream agrees with SQL.", no_args_is_help=True)
    group.callback()(_group_callback)
    group.command()(preview)
    group.command()(why)
    group.command()(verify)
    app.add_typer(group, name="segments")


def _group_callback() -> None:
    """Show who is in a segment and why, and whether the stream agrees with SQL."""
