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

from domain.intake.quality_score import QualityParts, by_source
from ops.cli.options import DEFAULT_DIR, AsJson, DataDir
from ops.cli.terminal import escape_controls
from ops.connect import find_settings
from ops.quality import QualityReport, measure_quality
from runtime.clock import SystemClock
from warehouse.client import Warehouse

Source = Annotated[str, typer.Option("--source", help="only this source")]
Day = Annotated[datetime | None, typer.Option("--day", formats=["%Y-%m-%d"], help="a day in UTC; without it, today")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("quality")(show)


def show(*, source: Source = "", day: Day = None, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DIR) -> None:
    """Score the data of a day by source and event, from 0 to 100.

    Each score is shown with its parts: completeness, validity, freshness, uniqueness and usual volume.
    """
    report_day = datetime.fromtimestamp(SystemClock().now_ms() / 1_000, UTC).date() if day is None else day.date()
    report = asyncio.run(_load_report(data_dir, report_day, source))
    if as_json:
        typer.echo(json.dumps(report.as_json(), ensure_ascii=False))
    else:
        _print_report(report)


async def _load_report(data_dir: Path, day: date, source: str) -> QualityReport:
    warehouse = await Warehouse.connect(find_settings(data_dir))
    try:
        return await measure_quality(warehouse, day, source)
    finally:
        await warehouse.aclose()


def _print_report(report: QualityReport) -> None:
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
    table = Table(
        "source", "event", *(Column(name, justify="right") for name in names), title=f"{report.day}", title_justify="left"
    )
    for row in report.rows:
        counts = [f"{count:,}" for count in (row.events, row.quarantined, row.duplicates, row.bots)]
        lags = [f"{lag_ms / 1_000:,.1f}" for lag_ms in (row.freshness_p50_ms, row.freshness_p95_ms)]
        table.add_row(
            Text(escape_controls(row.source)),
            Text(escape_controls(row.event)),
            _score(row.score),
            *_shares(row.parts),
            *counts,
            *lags,
        )
    console.print(table)
    for name, total in by_source(report.rows).items():
        console.print(Text(f"{escape_controls(name)}: {total:.0f}"))
    if report.hours:
        hour_table = Table("source", "event", "hour", "events", "usual", "z", title="Hours of unusual volume", title_justify="left")
        for source, event, hour_ms, events, usual, z in report.hours:
            at = datetime.fromtimestamp(hour_ms / 1_000, UTC)
            hour_table.add_row(
                Text(escape_controls(source)),
                Text(escape_controls(event)),
                f"{at:%H:%M}",
                f"{events:,}",
                f"{usual:,.0f}",
                f"{z:+.1f}",
            )
        console.print(hour_table)
    if report.violations:
        columns = ("source", "event", "path", "rule", "kind", "events", "blocked")
        violation_table = Table(*columns, title="Violations of tracking plans, of all days", title_justify="left")
        for cells in report.violations:
            violation_table.add_row(*(Text(escape_controls(str(cell))) for cell in cells[: len(columns)]))
        console.print(violation_table)


def _score(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


def _shares(parts: QualityParts) -> list[str]:
    values = (parts.completeness, parts.validity, parts.freshness, parts.uniqueness, parts.volume)
    return ["" if value is None else f"{value:.0%}" for value in values]
