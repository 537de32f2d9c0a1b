"""`onefold segments why` and `verify`."""

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ops.connect import DEFAULT_DIR, AsJson, DataDir
from ops.segments import render
from ops.segments.connect import open_segment_service, open_segment_verifier
from ops.segments.to_json import verification_to_json
from ops.segments.verifier import SegmentVerification

Profile = Annotated[str, typer.Argument(metavar="PROFILE", help="namespace:value, such as email:an@shop.vn, or a profile id")]
SegmentName = Annotated[str, typer.Argument(metavar="SEGMENT", help="a segment; none: all of them, in or out", show_default=False)]

SegmentNames = Annotated[list[str] | None, typer.Argument(metavar="NAME", help="segments; none: all of them", show_default=False)]
Repair = Annotated[bool, typer.Option("--repair", help="evaluate anew what differs (cause reconcile), and compare again")]


def why(profile: Profile, segment: SegmentName = "", *, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DIR) -> None:
    """Why somebody is in a segment or not: each condition, its value, the events behind it, when it changes. Exit 0 for both."""
    answer = asyncio.run(_why(profile, segment, data_dir))
    if as_json:
        typer.echo(json.dumps(answer, ensure_ascii=False))
    else:
        Console(highlight=False).print(render.why(answer) if segment else render.overview(answer))


def verify(names: SegmentNames = None, *, repair: Repair = False, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DIR) -> None:
    """Compare who the stream has in each segment with what its SQL says of history, at one instant. Exit 0 when they agree, else 1.

    What differs is looked at again for some seconds, since events may be on their way.
    """
    verification = asyncio.run(_verify(names or [], data_dir, repair=repair))
    answer = verification_to_json(verification)
    if as_json:
        typer.echo(json.dumps(answer, ensure_ascii=False))
    else:
        Console(highlight=False).print(render.verification(answer))
    raise typer.Exit(0 if verification.agrees else 1)


async def _verify(names: list[str], data_dir: Path, *, repair: bool) -> SegmentVerification:
    async with open_segment_verifier(data_dir) as verifier:
        return await verifier.verify(names, repair=repair)


async def _why(profile: str, segment: str, data_dir: Path) -> dict[str, Any]:
    async with open_segment_service(data_dir) as service:
        return await (service.why(profile, segment) if segment else service.overview(profile))
