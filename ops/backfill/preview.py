"""`onefold segments preview`."""

from typing import Annotated

import typer

from ops.reach import DEFAULT_DIR, AsJson, DataDir

Which = Annotated[str, typer.Argument(help="a segment's name, or a file that defines one")]


def preview(which: Which, *, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DIR) -> None:
    """Show how many are in a segment, and some of them, by ClickHouse. Nothing is changed."""
    del which, as_json, data_dir
    raise typer.Exit(2)
