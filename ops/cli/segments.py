"""`onefold segments`: preview, why, verify."""

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ops.cli import segment_answers
from ops.cli.options import DEFAULT_DIR, AsJson, DataDir
from ops.segments.connect import open_segment_service, open_segment_verifier
from ops.segments.preview import SegmentPreview, parse_instant, preview_segments, preview_to_json
from ops.segments.to_json import verification_to_json
from ops.segments.verifier import SegmentVerification

Profile = Annotated[str, typer.Argument(metavar="PROFILE", help="namespace:value, such as email:an@shop.vn, or a profile id")]
SegmentName = Annotated[
    str, typer.Argument(metavar="SEGMENT", help="a segment; without a name, all segments are listed", show_default=False)
]
SegmentNames = Annotated[
    list[str] | None, typer.Argument(metavar="NAME", help="segments to compare; without names, all of them", show_default=False)
]
SegmentOrFile = Annotated[str, typer.Argument(metavar="SEGMENT", help="a segment's name, or a file that defines segments")]
At = Annotated[str, typer.Option("--at", help="an instant, such as 2026-01-31T09:00:00+07:00; without it now")]
Repair = Annotated[
    bool, typer.Option("--repair", help="evaluate the profiles that differ again (cause reconcile), and compare them once more")
]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Show who is in a segment and why, and whether the stream agrees with SQL.", no_args_is_help=True)
    for command in (preview, why, verify):
        group.command()(command)
    app.add_typer(group, name="segments")


def preview(which: SegmentOrFile, *, at: At = "", as_json: AsJson = False, data_dir: DataDir = DEFAULT_DIR) -> None:
    """Show how many profiles are in a segment, and some of them, by ClickHouse's SQL.

    The segment is live or defined in a file. Nothing is changed.
    """
    previews = asyncio.run(preview_segments(which, parse_instant(at), data_dir))
    if as_json:
        typer.echo(json.dumps([preview_to_json(segment_preview) for segment_preview in previews], ensure_ascii=False))
        return
    for segment_preview in previews:
        typer.echo(_preview_line(segment_preview))


def why(profile: Profile, segment: SegmentName = "", *, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DIR) -> None:
    """Explain why a profile is in a segment or not: each condition, its value, the events behind it, and when it changes.

    Exit 0 for both answers.
    """
    answer = asyncio.run(_why(profile, segment, data_dir))
    if as_json:
        typer.echo(json.dumps(answer, ensure_ascii=False))
    else:
        Console(highlight=False).print(segment_answers.why(answer) if segment else segment_answers.overview(answer))


def verify(names: SegmentNames = None, *, repair: Repair = False, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DIR) -> None:
    """Compare the memberships of the stream with the segments' SQL over history, at one instant.

    Profiles that differ are compared again for some seconds, since events may be on their way. Exit 0 when both agree, else 1.
    """
    verification = asyncio.run(_verify(names or [], data_dir, repair=repair))
    answer = verification_to_json(verification)
    if as_json:
        typer.echo(json.dumps(answer, ensure_ascii=False))
    else:
        Console(highlight=False).print(segment_answers.verification(answer))
    raise typer.Exit(0 if verification.agrees else 1)


async def _why(profile: str, segment: str, data_dir: Path) -> dict[str, Any]:
    async with open_segment_service(data_dir) as service:
        return await (service.why(profile, segment) if segment else service.overview(profile))


async def _verify(names: list[str], data_dir: Path, *, repair: bool) -> SegmentVerification:
    async with open_segment_verifier(data_dir) as verifier:
        return await verifier.verify(names, repair=repair)


def _preview_line(segment_preview: SegmentPreview) -> str:
    if not segment_preview.sample:
        return f"{segment_preview.segment}: {segment_preview.members:,} in it"
    ellipsis = " …" if segment_preview.members > len(segment_preview.sample) else ""
    return f"{segment_preview.segment}: {segment_preview.members:,} in it, among them {', '.join(segment_preview.sample)}{ellipsis}"
