"""`onefold plan`, `onefold apply` and `onefold remove`."""

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ops.apply import render as say
from ops.progress import shown
from ops.apply.connect import defining
from ops.apply.removal import Removal, Removed
from ops.apply.preview import Planned, kept, planned
from ops.apply.backfill import Applied, Backfill
from ops.definitions_topic import sealed
from ops.definition_files import changes, check, read
from ops.connect import DEFAULT_DIR, AsJson, DataDir
from runtime.errors import Invalid
from runtime.settings import Settings
from domain.segments.register_bounds import Bound
from domain.definitions.kinds import AnyDefinition, BadDefinition
from domain.segments.plan import Plan

Directory = Annotated[Path, typer.Argument(help="directory with definitions: *.yaml, *.yml, *.json")]
Key = Annotated[str, typer.Argument(metavar="KIND/NAME", help="a definition, such as Segment/vip")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(plan)
    app.command()(apply)
    app.command()(remove)


def plan(directory: Directory, *, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DIR) -> None:
    """Check all definitions of a directory, show what `apply` would change and who would enter and leave. Nothing is changed."""
    found = asyncio.run(_plan(directory, data_dir))
    if as_json:
        typer.echo(json.dumps(say.shape_planned(found), ensure_ascii=False))
    else:
        Console(highlight=False).print(say.planned(found))


def apply(directory: Directory, *, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DIR) -> None:
    """Check all definitions of a directory, then make them live. Nothing is written if one of them is wrong.

    New and changed segments are computed over history; events wait for the last step. Cut off, it is completed by running it again.
    """
    found, applied, bounds = asyncio.run(_apply(directory, data_dir))
    if as_json:
        typer.echo(json.dumps({"changes": found, **asdict(applied)}, ensure_ascii=False))
    else:
        Console(highlight=False).print(say.applied(found, applied, bounds))


def remove(key: Key, *, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DIR) -> None:
    """Take a definition back. Refused while another one names it; applied again, it is as it was."""
    removed = asyncio.run(_remove(key, data_dir))
    if as_json:
        typer.echo(json.dumps(asdict(removed), ensure_ascii=False))
    else:
        typer.echo(f"{removed.key} removed; {removed.profiles:,} profiles looked at again")


async def _plan(directory: Path, data_dir: Path) -> Planned:
    async with defining(data_dir) as parts:
        wanted, known = _read(directory, parts.settings), await parts.live()
        check(wanted, known)
        found = changes(wanted.values(), known)
        return await planned(known, wanted.values(), found, parts.history, parts.clock.now_ms())


async def _apply(directory: Path, data_dir: Path) -> tuple[dict[str, str], Applied, tuple[Bound, ...]]:
    async with defining(data_dir) as parts:
        wanted, known = _read(directory, parts.settings), await parts.live()
        check(wanted, known)
        found = changes(wanted.values(), known)
        with shown() as report:
            backfill = Backfill(parts.settings, parts.bus, parts.store, parts.history, parts.clock, report)
            applied = await backfill.apply(wanted.values())
        return found, applied, kept(Plan(known.values()), Plan({**known, **wanted}.values()))


async def _remove(key: str, data_dir: Path) -> Removed:
    async with defining(data_dir) as parts:
        await parts.live()
        with shown() as report:
            return await Removal(parts.settings, parts.bus, parts.store, parts.clock, report).remove(key)


def _read(directory: Path, settings: Settings) -> dict[str, AnyDefinition]:
    """The directory's definitions, lists sealed: so they are compared, and written."""
    try:
        return {one.key: one for one in sealed(settings, read(directory).values())}
    except BadDefinition as error:
        raise Invalid(str(error), reason="bad_definition") from error
