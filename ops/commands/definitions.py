"""`onefold plan` and `onefold apply`."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from ops import definitions
from ops.documents import changes, check, read
from ops.reach import DEFAULT_DIR, DataDir, find
from runtime.bus.kafka import KafkaBus
from runtime.errors import Invalid
from segments.definitions import BadDefinition

Directory = Annotated[Path, typer.Argument(help="directory with definitions: *.yaml, *.yml, *.json")]
_STYLE = {"create": "green", "change": "yellow", "unchanged": "dim"}


def register(app: typer.Typer) -> None:
    """Add both commands."""
    app.command()(plan)
    app.command()(apply)


def plan(directory: Directory, *, data_dir: DataDir = DEFAULT_DIR) -> None:
    """Check all definitions of a directory and show what `apply` would change."""
    _show(asyncio.run(_run(directory, data_dir, write=False)), "Would be done")


def apply(directory: Directory, *, data_dir: DataDir = DEFAULT_DIR) -> None:
    """Check all definitions of a directory, then make them live. Nothing is written if one of them is wrong."""
    _show(asyncio.run(_run(directory, data_dir, write=True)), "Done")


async def _run(directory: Path, data_dir: Path, *, write: bool) -> dict[str, str]:
    wanted = read(directory)
    settings = find(data_dir)
    async with KafkaBus(settings) as bus:
        try:
            known = await definitions.live(settings, bus)
        except BadDefinition as error:
            raise Invalid(str(error), reason="bad_definition") from error
        check(wanted, known)
        found = changes(wanted.values(), known)
        if write:
            await definitions.write(settings, bus, [wanted[key] for key, change in found.items() if change != "unchanged"])
    return found


def _show(found: dict[str, str], title: str) -> None:
    table = Table("definition", "", title=title, title_justify="left")
    for key, change in sorted(found.items()):
        table.add_row(key, change, style=_STYLE[change])
    Console().print(table)
