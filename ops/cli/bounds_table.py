"""The table of the most that definitions store for each identifier."""

from collections.abc import Collection, Sequence

from rich.table import Table

from domain.segments.register_bounds import TEXT_BYTES, RegisterBound, owner_totals


def render_bounds(bounds: Sequence[RegisterBound], owners: Collection[str] | None = None) -> Table:
    """Return the table of the bounds of `owners` (None: of all), each with its total, and the total of everything at the end.

    It fits into 80 columns.
    """
    rendered = Table(
        "segment or trait, and leaf",
        title="Stored per identifier, at most",
        title_justify="left",
        caption=f"bytes with texts of up to {TEXT_BYTES} bytes; a shared register is stored once",
        caption_justify="left",
        box=None,
        padding=(0, 1),
    )
    rendered.columns[0].overflow = "fold"
    rendered.add_column("entries", justify="right", no_wrap=True)
    rendered.add_column("bytes", justify="right", no_wrap=True)
    rendered.add_column("the answer is", max_width=36)
    for total in owner_totals(bounds):
        if not total.owner:
            rendered.add_row("total", f"{total.entries:,}", f"{total.bytes:,}", style="bold")
        elif owners is None or total.owner in owners:
            rendered.add_row(total.owner, f"{total.entries:,}", f"{total.bytes:,}", style="bold")
            for bound in (bound for bound in bounds if bound.owner == total.owner):
                rendered.add_row(
                    f"  {bound.path}", f"{bound.entries:,}", f"{bound.bytes:,}", describe_exactness(bound), style="dim"
                )
    return rendered


def describe_exactness(bound: RegisterBound) -> str:
    """Return up to where the answer is exact, and which other segments and traits read the same register."""
    exactness = f"exact while {bound.exact_while}" if bound.exact_while else "exact"
    if not bound.shared_with:
        return exactness
    others = len(bound.shared_with) - 1
    return f"{exactness}; shared with {bound.shared_with[0]}{f' and {others} more' if others else ''}"
