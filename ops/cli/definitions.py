"""`onefold plan`, `onefold apply` and `onefold remove`."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from domain.definitions.consistency import classify_changes
from domain.definitions.kinds import AnyDefinition, InvalidDefinition
from domain.definitions.lockouts import find_lockouts
from domain.definitions.segment_plan import segment_plan_of
from domain.segments.register_bounds import RegisterBound
from ops.apply.backfill import ApplyResult, Backfill
from ops.apply.connect import open_apply_context
from ops.apply.preview import ApplyPreview, changed_bounds, preview_apply
from ops.apply.removal import DefinitionRemoval, RemovalResult
from ops.apply.to_json import applied_to_json, planned_to_json
from ops.cli import apply_answers
from ops.cli.options import DEFAULT_DIR, AsJson, DataDir
from ops.cli.progress import progress_on_stderr
from ops.cli.terminal import open_console
from ops.definition_files import read_definitions, require_consistent
from ops.definitions_topic import seal
from runtime.errors import Invalid
from runtime.settings import Settings

Definitions = Annotated[
    Path, typer.Argument(metavar="PATH", help="a file with definitions, or a directory of *.yaml, *.yml and *.json")
]
Yes = Annotated[bool, typer.Option("--yes", help="also do what locks out clients that can send now")]
Key = Annotated[str, typer.Argument(metavar="KIND/NAME", help="a definition, such as Segment/vip")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(plan)
    app.command()(apply)
    app.command()(remove)


def plan(path: Definitions, *, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DIR) -> None:
    """Check all definitions of a file or directory, and show what `apply` would change.

    The answer names how many profiles would enter and leave each segment. Nothing is changed.
    """
    planned = asyncio.run(_plan(path, data_dir))
    if as_json:
        typer.echo(json.dumps(planned_to_json(planned), ensure_ascii=False))
    else:
        open_console().print(apply_answers.render_planned(planned))


def apply(path: Definitions, *, yes: Yes = False, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DIR) -> None:
    """Check all definitions of a file or directory, then make them live.

    Nothing is written if one of them is wrong, or if clients that can send now could not send any more and --yes is not given. New
    and changed segments are computed over history; the stream workers pause for the last step. When the command is interrupted,
    running it again completes it.
    """
    changes_by_key, applied, bounds = asyncio.run(_apply(path, data_dir, confirmed=yes))
    if as_json:
        typer.echo(json.dumps(applied_to_json(changes_by_key, applied), ensure_ascii=False))
    else:
        open_console().print(apply_answers.render_applied(changes_by_key, applied, bounds))


def remove(key: Key, *, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DIR) -> None:
    """Remove a definition, unless another one names it.

    Applying the definition again restores what it computes, from history.
    """
    removed = asyncio.run(_remove(key, data_dir))
    if as_json:
        typer.echo(json.dumps(asdict(removed), ensure_ascii=False))
    else:
        typer.echo(f"{removed.key} removed; {removed.profiles:,} profiles evaluated again")


async def _plan(path: Path, data_dir: Path) -> ApplyPreview:
    async with open_apply_context(data_dir) as context:
        read = read_definitions(path)
        live = await context.live_definitions(read)
        requested = _sealed(read, context.settings, live)
        require_consistent(requested, live)
        changes_by_key = classify_changes(requested.values(), live)
        now_ms = context.clock.now_ms()
        preview = await preview_apply(live, requested.values(), changes_by_key, context.history, now_ms)
        return replace(preview, warnings=tuple(find_lockouts(requested, live, now_ms)))


async def _apply(path: Path, data_dir: Path, *, confirmed: bool) -> tuple[dict[str, str], ApplyResult, tuple[RegisterBound, ...]]:
    async with open_apply_context(data_dir) as context:
        read = read_definitions(path)
        live = await context.live_definitions(read)
        requested = _sealed(read, context.settings, live)
        require_consistent(requested, live)
        if not confirmed and (lockouts := find_lockouts(requested, live, context.clock.now_ms())):
            raise Invalid(
                "\n".join((*lockouts, "nothing was changed: add --yes if that is meant")), path="yes", reason="unconfirmed"
            )
        changes_by_key = classify_changes(requested.values(), live)
        with progress_on_stderr() as report:
            backfill = Backfill(context.settings, context.bus, context.store, context.history, context.clock, report)
            applied = await backfill.apply(requested.values())
        before, after = segment_plan_of(live.values()), segment_plan_of({**live, **requested}.values())
        return changes_by_key, applied, changed_bounds(before, after)


async def _remove(key: str, data_dir: Path) -> RemovalResult:
    async with open_apply_context(data_dir) as context:
        with progress_on_stderr() as report:
            return await DefinitionRemoval(context.settings, context.bus, context.store, context.clock, report).remove(key)


def _sealed(read: Mapping[str, AnyDefinition], settings: Settings, live: Mapping[str, AnyDefinition]) -> dict[str, AnyDefinition]:
    """Return the definitions with lists sealed, since these are stored and compared as hashes.

    `live` are the live definitions, whose identity rules may declare the namespaces of lists.
    """
    try:
        return {definition.key: definition for definition in seal(settings, read.values(), live)}
    except InvalidDefinition as error:
        raise Invalid(str(error), reason="bad_definition") from error
