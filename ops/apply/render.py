"""What `onefold plan` and `onefold apply` print, and their JSON. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table

from ops.apply import bounds_table as bounds
from ops.apply.preview import Planned, Size
from ops.apply.backfill import Applied
from domain.segments.register_bounds import Bound

_STYLE: Final = {"create": "green", "change": "yellow", "unchanged": "dim"}


def planned(found: Planned) -> RenderableType:
    """What would be done."""
    parts: list[RenderableType] = [_changes(found.changes, "Would be done")]
    if found.segments:
        table = Table("segment", "now", "then", "enter", "leave", title="Segments, by history", title_justify="left")
        for one in found.segments:
            table.add_row(one.segment, f"{one.before:,}", f"{one.now:,}", f"{one.entering:,}", f"{one.leaving:,}")
        parts.append(table)
        parts += [f"{one.segment}: would enter {', '.join(one.sample)}{_more(one)}" for one in found.segments if one.sample]
    if found.bounds:
        parts.append(bounds.table(found.bounds))
    return Group(*parts)


def _more(one: Size) -> str:
    return " …" if one.entering > len(one.sample) else ""


def applied(changes: Mapping[str, str], done: Applied, kept: Sequence[Bound] = ()) -> RenderableType:
    """What was done, and what is kept of everybody from now on."""
    parts: list[RenderableType] = [_changes(changes, "Done")]
    if done.segments:
        table = Table("segment", "in it", "entered", "left", title="Segments, by history", title_justify="left")
        for name, tally in done.segments.items():
            table.add_row(name, f"{tally.now:,}", f"{tally.entered:,}", f"{tally.left:,}")
        parts.append(table)
    if done.registers or done.segments:
        parts.append(
            f"{done.events:,} events folded for {done.owners:,} identifiers; agents waited {done.waited_s:.1f} s; "
            f"{done.profiles:,} profiles looked at again"
        )
    if kept:
        parts.append(bounds.table(kept))
    return Group(*parts)


def _changes(found: Mapping[str, str], title: str) -> Table:
    table = Table("definition", "", title=title, title_justify="left")
    for key, change in sorted(found.items()):
        table.add_row(key, change, style=_STYLE[change])
    return table


def shape_planned(found: Planned) -> dict[str, Any]:
    """The JSON of `onefold plan`."""
    return {
        "changes": dict(found.changes),
        "segments": [
            {
                "segment": one.segment,
                "before": one.before,
                "now": one.now,
                "entering": one.entering,
                "leaving": one.leaving,
                "sample": list(one.sample),
            }
            for one in found.segments
        ],
        "bounds": [
            {"owner": one.owner, "path": one.path, "entries": one.entries, "bytes": one.bytes, "exact_while": one.exact_while}
            for one in found.bounds
        ],
    }
