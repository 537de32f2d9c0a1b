"""`onefold segments preview`."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from ops.apply.connect import Defining, defining
from ops.apply.preview import SAMPLE
from ops.definitions_topic import sealed
from ops.definition_files import check
from ops.connect import DEFAULT_DIR, AsJson, DataDir
from runtime.errors import Invalid
from domain.definitions.kinds import (AnyDefinition, BadDefinition, Segment, load_yaml)
from domain.segments.plan import Plan

Which = Annotated[str, typer.Argument(metavar="SEGMENT", help="a segment's name, or a file that defines segments")]
At = Annotated[str, typer.Option("--at", help="an instant, such as 2026-01-31T09:00:00+07:00; without it now")]


@dataclass(frozen=True, slots=True)
class Previewed:
    """One segment at an instant: how many are in it, and some of their profile ids."""

    segment: str
    at_ms: int
    members: int
    sample: tuple[str, ...]


def preview(which: Which, *, at: At = "", as_json: AsJson = False, data_dir: DataDir = DEFAULT_DIR) -> None:
    """Show how many are in a segment, live or not, and some of them, by ClickHouse's SQL. Nothing is changed."""
    found = asyncio.run(_preview(which, instant(at), data_dir))
    if as_json:
        typer.echo(json.dumps([shape(one) for one in found], ensure_ascii=False))
        return
    for one in found:
        more = " …" if one.members > len(one.sample) else ""
        typer.echo(f"{one.segment}: {one.members:,} in it" + (f", among them {', '.join(one.sample)}{more}" if one.sample else ""))


def instant(text: str) -> int | None:
    """An ISO 8601 instant in ms, UTC if it names no zone; None for no text. Raises Invalid for anything else."""
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid("--at is an instant such as 2026-01-31T09:00:00+07:00", path="at", reason="bad_instant") from None
    return round((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)


def shape(one: Previewed) -> dict[str, Any]:
    """Its JSON."""
    return {"segment": one.segment, "at_ms": one.at_ms, "members": one.members, "sample": list(one.sample)}


def chosen(which: str, known: Mapping[str, AnyDefinition], found: Mapping[str, AnyDefinition]) -> tuple[Plan, list[str]]:
    """The plan with what a file defines (`found`), and the names of its segments; without a file the live segment `which`. Pure.

    Raises Invalid when there is none.
    """
    check(found, known)
    plan = Plan({**known, **found}.values())
    names = [one.metadata.name for one in found.values() if isinstance(one, Segment)] if found else [which]
    if not names or not plan.segments.keys() >= set(names):
        text = f"{which} defines no segment" if found else f"no segment is called {which}, and no file is"
        raise Invalid(text, path="segment", reason="unknown_segment")
    return plan, names


async def _preview(which: str, at_ms: int | None, data_dir: Path) -> list[Previewed]:
    async with defining(data_dir) as parts:
        known = await parts.live()
        plan, names = chosen(which, known, _file(parts, Path(which)))
        when = parts.clock.now_ms() if at_ms is None else at_ms
        return [Previewed(name, when, *await parts.history.size_and_sample(plan, name, when, SAMPLE)) for name in names]


def _file(parts: Defining, path: Path) -> dict[str, AnyDefinition]:
    """The definitions of a file; none when there is no such file."""
    if not path.is_file():
        return {}
    try:
        return {one.key: one for one in sealed(parts.settings, load_yaml(path.read_text(encoding="utf-8"), str(path)))}
    except BadDefinition as error:
        raise Invalid(str(error), path=str(path), reason="bad_definition") from error
    except UnicodeDecodeError:
        raise Invalid(f"{path}: not UTF-8", path=str(path), reason="bad_definition") from None
