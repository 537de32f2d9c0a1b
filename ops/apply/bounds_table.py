"""What definitions cost, as a table."""

from collections.abc import Collection, Sequence

from rich.table import Table

from domain.segments.register_bounds import TEXT_BYTES, Bound, totals


def table(found: Sequence[Bound], owners: Collection[str] | None = None) -> Table:
    """The bounds of `owners` (None: of all), each with its total, and below them what is kept altogether. 80 columns suffice."""
    made = Table(
        "segment or trait, and leaf",
        title="Kept per identifier, at most",
        title_justify="left",
        caption=f"bytes with texts of up to {TEXT_BYTES} bytes; what several read is kept once",
        caption_justify="left",
        box=None,
        padding=(0, 1),
    )
    made.columns[0].overflow = "fold"
    made.add_column("entries", justify="right", no_wrap=True)
    made.add_column("bytes", justify="right", no_wrap=True)
    made.add_column("the answer is", max_width=36)
    for total in totals(found):
        if not total.owner:
            made.add_row("altogether", f"{total.entries:,}", f"{total.bytes:,}", style="bold")
        elif owners is None or total.owner in owners:
            made.add_row(total.owner, f"{total.entries:,}", f"{total.bytes:,}", style="bold")
            for bound in (bound for bound in found if bound.owner == total.owner):
                made.add_row(f"  {bound.path}", f"{bound.entries:,}", f"{bound.bytes:,}", answer(bound), style="dim")
    return made


def answer(bound: Bound) -> str:
    """How exact the answer is, and who reads the same."""
    said = f"exact while {bound.exact_while}" if bound.exact_while else "exact"
    if not bound.shared:
        return said
    others = len(bound.shared) - 1
    return f"{said}; shared with {bound.shared[0]}{f' and {others} more' if others else ''}"
