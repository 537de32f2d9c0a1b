"""`onefold segments`: list, members, preview, why, verify."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from domain.definitions.segment_plan import segment_plan_of
from ops import definitions_topic
from ops.cli import segment_answers
from ops.cli.options import DEFAULT_DIR, AsJson, DataDir
from ops.cli.terminal import escape_controls, open_console
from ops.connect import connect
from ops.segments.connect import open_segment_service, open_segment_verifier
from ops.segments.members import (
    COLUMNS,
    SegmentMember,
    count_members,
    csv_lines,
    member_cells,
    member_to_json,
    stream_members,
)
from ops.segments.preview import SegmentPreview, parse_instant, preview_segments, preview_to_json
from ops.segments.to_json import verification_to_json
from ops.segments.verification import SegmentVerification
from runtime.errors import Invalid

Profile = Annotated[str, typer.Argument(metavar="PROFILE", help="namespace:value, such as email:an@shop.vn, or a profile id")]
SegmentName = Annotated[
    str, typer.Argument(metavar="SEGMENT", help="a segment; without a name, all segments are listed", show_default=False)
]
SegmentNames = Annotated[
    list[str] | None,
    typer.Argument(metavar="NAME", help="segments, and traits as computed.NAME; without names, all", show_default=False),
]
SegmentOrFile = Annotated[str, typer.Argument(metavar="SEGMENT", help="a segment's name, or a file that defines segments")]
ListFormat = Annotated[
    Literal["table", "csv", "json"], typer.Option("--format", help="csv has a header; of members, json is one object a line")
]
At = Annotated[str, typer.Option("--at", help="an instant, such as 2026-01-31T09:00:00+07:00; without it now")]
Repair = Annotated[
    bool, typer.Option("--repair", help="evaluate the profiles that differ again (cause reconcile), and compare them once more")
]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Show who is in a segment and why, and whether the stream agrees with SQL.", no_args_is_help=True)
    group.command("list")(list_segments)
    for command in (members, preview, why, verify):
        group.command()(command)
    app.add_typer(group, name="segments")


def list_segments(*, output_format: ListFormat = "table", data_dir: DataDir = DEFAULT_DIR) -> None:
    """List the live segments with the number of their members."""
    counts = asyncio.run(_count_members(data_dir))
    if output_format == "json":
        typer.echo(json.dumps([{"segment": name, "members": count} for name, count in counts], ensure_ascii=False))
    elif output_format == "csv":
        for line in csv_lines([("segment", "members"), *((name, str(count)) for name, count in counts)]):
            typer.echo(line, nl=False)
    elif not counts:
        typer.echo("no segment is live: define some and `onefold apply` them")
    else:
        for name, count in counts:
            typer.echo(f"{count:>12,}  {name}")


def members(
    segment: Annotated[str, typer.Argument(metavar="SEGMENT", help="a live segment")],
    *,
    output_format: ListFormat = "table",
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="the largest number of members; without it all")] = None,
    data_dir: DataDir = DEFAULT_DIR,
) -> None:
    """Print who is in a segment, with name, user id, CRM id, e-mail and phone, those who entered last first.

    These are personal data: mind where the output goes.
    """
    asyncio.run(_print_members(segment, output_format, limit, data_dir))


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
        open_console().print(segment_answers.why(answer) if segment else segment_answers.overview(answer))


def verify(names: SegmentNames = None, *, repair: Repair = False, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DIR) -> None:
    """Compare the memberships and computed traits of the stream with their SQL over history, at one instant.

    Profiles that differ are compared again for some seconds, since events may be on their way. Exit 0 when both agree, else 1.
    """
    verification = asyncio.run(_verify(names or [], data_dir, repair=repair))
    answer = verification_to_json(verification)
    if as_json:
        typer.echo(json.dumps(answer, ensure_ascii=False))
    else:
        open_console().print(segment_answers.verification(answer))
    raise typer.Exit(0 if verification.agrees else 1)


async def _count_members(data_dir: Path) -> list[tuple[str, int]]:
    async with connect(data_dir) as connection:
        live_definitions = await definitions_topic.read_live(connection.settings, connection.bus)
        return await count_members(connection.warehouse, segment_plan_of(live_definitions.values()).segments)


async def _print_members(segment: str, output_format: str, limit: int | None, data_dir: Path) -> None:
    async with connect(data_dir) as connection:
        live_definitions = await definitions_topic.read_live(connection.settings, connection.bus)
        if segment not in segment_plan_of(live_definitions.values()).segments:
            raise Invalid("no segment has this name: see `onefold segments list`", path="segment", reason="unknown_segment")
        if output_format == "csv":
            typer.echo(next(csv_lines([COLUMNS])), nl=False)
        printed = 0
        async for block in stream_members(connection.warehouse, segment):
            shown = block if limit is None else block[: limit - printed]
            for line in _member_lines(shown, output_format):
                typer.echo(line, nl=False)
            printed += len(shown)
            if printed == limit:
                break
        if not printed and output_format == "table":
            typer.echo("nobody is in this segment")


def _member_lines(block: list[SegmentMember], output_format: str) -> Iterator[str]:
    if output_format == "csv":
        return csv_lines(map(member_cells, block))
    if output_format == "json":
        return (json.dumps(member_to_json(member), ensure_ascii=False) + "\n" for member in block)
    return (escape_controls("  ".join(filter(None, member_cells(member)))) + "\n" for member in block)


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
