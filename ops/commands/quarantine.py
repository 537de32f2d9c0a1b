"""`onefold quarantine list` and `show`."""

import asyncio
import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table

from ops.reach import DEFAULT_DIR, AsJson, DataDir, find
from profile_store.warehouse import reads
from profile_store.warehouse.client import Warehouse
from runtime.errors import Invalid

FIELDS = ("id", "stage", "reason", "detail", "source", "topic", "partition", "offset", "at_ms", "counted", "raw")
Reason = Annotated[str, typer.Option("--reason", help="only records with this reason")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=10_000, help="most records shown, newest first")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="What was not kept, and why.", no_args_is_help=True)
    group.command("list")(listing)
    group.command("show")(show)
    app.add_typer(group, name="quarantine")


def listing(*, reason: Reason = "", limit: Limit = 50, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DIR) -> None:
    """The newest records in quarantine."""
    found = [
        dict(zip(FIELDS, row, strict=False)) for row in asyncio.run(_ask(data_dir, "quarantine_list", reason=reason, limit=limit))
    ]
    if as_json:
        typer.echo(json.dumps(found))
        return
    table = Table(Column("id", no_wrap=True), "when", "stage", "reason", "detail", "source")
    for entry in found:
        at = datetime.fromtimestamp(entry["at_ms"] / 1_000, UTC)
        table.add_row(entry["id"], f"{at:%Y-%m-%d %H:%M:%S}", entry["stage"], entry["reason"], entry["detail"], entry["source"])
    Console(soft_wrap=True).print(table)


def show(
    id: Annotated[str, typer.Argument(help="a record's id, from `quarantine list`")],  # noqa: A002 - the word users see
    *,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DIR,
) -> None:
    """One record whole, with the bytes that came in."""
    rows = asyncio.run(_ask(data_dir, "quarantine_show", id=id))
    if not rows:
        raise Invalid("no record in quarantine has this id: see `onefold quarantine list`", path="id")
    entry = dict(zip(FIELDS, rows[0], strict=True))
    raw = base64.b64decode(entry.pop("raw")).decode("utf-8", "backslashreplace")
    if as_json:
        typer.echo(json.dumps({**entry, "raw": raw}))
        return
    for name, value in entry.items():
        typer.echo(f"{name}: {value}")
    typer.echo(f"\n{raw}")


async def _ask(data_dir: Path, name: str, **parameters: Any) -> list[tuple[Any, ...]]:
    warehouse = await Warehouse.connect(find(data_dir))
    try:
        return await reads.ask(warehouse, name, **parameters)
    finally:
        await warehouse.aclose()
