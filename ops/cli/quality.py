"""`onefold quality`."""

import asyncio
import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from ops import quality
from ops.identity.render import plain
from ops.quality import Parts, Report
from ops.connect import (DEFAULT_DIR, AsJson, DataDir, find)
from warehouse.client import Warehouse
from runtime.clock import SystemClock

Source = Annotated[str, typer.Option("--source", help="only this source")]
Day = Annotated[datetime | None, typer.Option("--day", formats=["%Y-%m-%d"], help="a day in UTC; else today")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("quality")(show)


def show(*, source: Source = "", day: Day = None, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DIR) -> None:
    """How good the data of a day is, by source and event: a score from 0 to 100 and the parts it comes from."""
    wanted = datetime.fromtimestamp(SystemClock().now_ms() / 1_000, UTC).date() if day is None else day.date()
    found = asyncio.run(_report(data_dir, wanted, source))
    if as_json:
        typer.echo(json.dumps(found.as_json(), ensure_ascii=False))
    else:
        _print(found)


async def _report(data_dir: Path, day: date, source: str) -> Report:
    warehouse = await Warehouse.connect(find(data_dir))
    try:
        return await quality.report(warehouse, day, source)
    finally:
        await warehouse.aclose()


def _print(found: Report) -> None:
    console = Console(soft_wrap=True)
    names = (
        "score",
        "complete",
        "valid",
        "fresh",
        "unique",
        "usual",
        "events",
        "quarantined",
        "duplicates",
        "bots",
        "p50 s",
        "p95 s",
    )
    table = Table("source", "event", *(Column(name, justify="right") for name in names), title=f"{found.day}", title_justify="left")
    for row in found.rows:
        counts = [f"{count:,}" for count in (row.events, row.quarantined, row.duplicates, row.bots)]
        lags = [f"{lag_ms / 1_000:,.1f}" for lag_ms in (row.freshness_p50_ms, row.freshness_p95_ms)]
        table.add_row(Text(plain(row.source)), Text(plain(row.event)), _score(row.score), *_shares(row.parts), *counts, *lags)
    console.print(table)
    for name, total in quality.by_source(found.rows).items():
        console.print(Text(f"{plain(name)}: {total:.0f}"))
    if found.hours:
        hours = Table("source", "event", "hour", "events", "usual", "z", title="Hours of unusual volume", title_justify="left")
        for source, event, hour_ms, events, usual, z in found.hours:
            at = datetime.fromtimestamp(hour_ms / 1_000, UTC)
            hours.add_row(Text(plain(source)), Text(plain(event)), f"{at:%H:%M}", f"{events:,}", f"{usual:,.0f}", f"{z:+.1f}")
        console.print(hours)
    if found.violations:
        columns = ("source", "event", "path", "rule", "kind", "events", "blocked")
        wrong = Table(*columns, title="Not as planned, of all days", title_justify="left")
        for cells in found.violations:
            wrong.add_row(*(Text(plain(str(cell))) for cell in cells[: len(columns)]))
        console.print(wrong)


def _score(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


def _shares(parts: Parts) -> list[str]:
    values = (parts.completeness, parts.validity, parts.freshness, parts.uniqueness, parts.volume)
    return ["" if value is None else f"{value:.0%}" for value in values]
