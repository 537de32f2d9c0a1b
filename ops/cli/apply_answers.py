"""What `onefold plan` and `onefold apply` print. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from domain.segments.register_bounds import RegisterBound
from ops.apply.backfill import ApplyResult
from ops.apply.preview import ApplyPreview, SegmentSize
from ops.cli import bounds_table

_STYLE: Final = {"create": "green", "change": "yellow", "unchanged": "dim"}


def render_planned(preview: ApplyPreview) -> RenderableType:
    """Return what an apply would do."""
    parts: list[RenderableType] = [_changes_table(preview.changes, "Planned changes")]
    if preview.segments:
        table = Table("segment", "now", "then", "enter", "leave", title="Segments, by history", title_justify="left")
        for segment_size in preview.segments:
            table.add_row(
                segment_size.segment,
                f"{segment_size.before:,}",
                f"{segment_size.after:,}",
                f"{segment_size.entering:,}",
                f"{segment_size.leaving:,}",
            )
        parts.append(table)
        parts += [f"{one.segment}: would enter {', '.join(one.sample)}{_ellipsis(one)}" for one in preview.segments if one.sample]
    if preview.bounds:
        parts.append(bounds_table.render_bounds(preview.bounds))
    if preview.warnings:
        parts += [Text(f"warning: {warning}", style="yellow") for warning in preview.warnings]
        parts.append(Text("`onefold apply` does this only with --yes"))
    return Group(*parts)


def _ellipsis(segment_size: SegmentSize) -> str:
    return " …" if segment_size.entering > len(segment_size.sample) else ""


def render_applied(changes: Mapping[str, str], result: ApplyResult, new_bounds: Sequence[RegisterBound] = ()) -> RenderableType:
    """Return what an apply has done, and the bounds of what is stored for each identifier from now on."""
    parts: list[RenderableType] = [_changes_table(changes, "Changes")]
    if result.segments:
        table = Table("segment", "in it", "entered", "left", title="Segments, by history", title_justify="left")
        for name, tally in result.segments.items():
            table.add_row(name, f"{tally.after:,}", f"{tally.entered:,}", f"{tally.exited:,}")
        parts.append(table)
    if result.registers or result.segments:
        parts.append(
            f"{result.events:,} events folded for {result.owners:,} identifiers; agents waited {result.waited_s:.1f} s; "
            f"{result.profiles:,} profiles evaluated again"
        )
    if result.identity_rules == "followed":
        parts.append("all profiles follow the new identity rules")
    elif result.identity_rules == "pending":
        parts.append(
            "the new identity rules are live, but the link agent has not brought all profiles to them yet: "
            "it goes on by itself, `onefold status` shows how far it is"
        )
    if new_bounds:
        parts.append(bounds_table.render_bounds(new_bounds))
    return Group(*parts)


def _changes_table(changes: Mapping[str, str], title: str) -> Table:
    table = Table("definition", "", title=title, title_justify="left")
    for key, change in sorted(changes.items()):
        table.add_row(key, change, style=_STYLE[change])
    return table
