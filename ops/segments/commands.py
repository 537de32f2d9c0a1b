"""`onefold segments why` and `verify`."""

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ops.connect import DEFAULT_DIR, AsJson, DataDir
from ops.segments import render as say
from ops.segments.connect import asking, verifying
from ops.segments.to_json import shape_verified
from ops.segments.verifier import Verified

Profile = Annotated[str, typer.Argument(metavar="PROFILE", help="namespace:value, such as email:an@shop.vn, or a profile id")]
Named = Annotated[str, typer.Argument(metavar="SEGMENT", help="a segment; none: all of them, in or out", show_default=False)]

Names = Annotated[list[str] | None, typer.Argument(metavar="NAME", help="segments; none: all of them", show_default=False)]
Repair = Annotated[bool, typer.Option("--repair", help="evaluate anew what differs (cause reconcile), and compare again")]


def why(profile: Profile, segment: Named = "", *, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DIR) -> None:
    """Why somebody is in a segment or not: each condition, its value, the events behind it, when it changes. Exit 0 for both."""
    answer = asyncio.run(_why(profile, segment, data_dir))
    if as_json:
        typer.echo(json.dumps(answer, ensure_ascii=False))
    else:
        Console(highlight=False).print(say.why(answer) if segment else say.overview(answer))


def verify(names: Names = None, *, repair: Repair = False, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DIR) -> None:
    """Compare who the stream has in each segment with what its SQL says of history, at one instant. Exit 0 when they agree, else 1.

    What differs is looked at again for some seconds, since events may be on their way.
    """
    found = asyncio.run(_verify(names or [], data_dir, repair=repair))
    answer = shape_verified(found)
    if as_json:
        typer.echo(json.dumps(answer, ensure_ascii=False))
    else:
        Console(highlight=False).print(say.verified(answer))
    raise typer.Exit(0 if found.agrees else 1)


async def _verify(names: list[str], data_dir: Path, *, repair: bool) -> Verified:
    async with verifying(data_dir) as verifier:
        return await verifier.verify(names, repair=repair)


async def _why(profile: str, segment: str, data_dir: Path) -> dict[str, Any]:
    async with asking(data_dir) as asked:
        return await (asked.why(profile, segment) if segment else asked.overview(profile))
