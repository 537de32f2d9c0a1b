"""`onefold quality`."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table
from rich.text import Text

from domain.intake.quality_score import QualityParts, by_source
from ops.cli.options import DEFAULT_DIR, AsJson, DataDir
from ops.cli.terminal import escape_controls, open_console
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
    if not report.rows:
        typer.echo(f"no events and no quarantined records on {report.day} (UTC): see --day and --source")
    console = open_console()
    for table in report_tables(report):
        console.print(table)
    for name, total in by_source(report.rows).items():
        typer.echo(f"{escape_controls(name)}: {total:.0f}")


def report_tables(report: QualityReport) -> Iterator[Table]:
    """Yield the tables of a report, none of which needs more than 80 columns: names fold, numbers do not."""
    if report.rows:
        scores = _table(f"{report.day}: scores", 2, ("score", "complete", "valid", "fresh", "unique", "usual"))
        counts = _table(f"{report.day}: counts and lags", 2, ("events", "quarantined", "duplicates", "bots", "p50 s", "p95 s"))
        for row in report.rows:
            names = (_text(row.source), _text(row.event))
            lags = [f"{lag_ms / 1_000:,.1f}" for lag_ms in (row.freshness_p50_ms, row.freshness_p95_ms)]
            scores.add_row(*names, _score(row.score), *_shares(row.parts))
            counts.add_row(*names, *(f"{count:,}" for count in (row.events, row.quarantined, row.duplicates, row.bots)), *lags)
        yield from (scores, counts)
    if report.hours:
        hours = _table("Hours of unusual volume", 2, ("hour", "events", "usual", "z"))
        for source, event, hour_ms, events, usual, z in report.hours:
            at = datetime.fromtimestamp(hour_ms / 1_000, UTC)
            hours.add_row(_text(source), _text(event), f"{at:%H:%M}", f"{events:,}", f"{usual:,.0f}", f"{z:+.1f}")
        yield hours
    if report.violations:
        violations = _table("Violations of tracking plans, of all days", 5, ("events", "blocked"))
        for cells in report.violations:
            violations.add_row(*(_text(str(cell)) for cell in cells[:7]))
        yield violations


def _table(title: str, name_count: int, numbers: Sequence[str]) -> Table:
    names = ("source", "event", "path", "rule", "kind")[:name_count]
    columns = [Column(name, overflow="fold") for name in names]
    columns += [Column(name, justify="right", no_wrap=True) for name in numbers]
    return Table(*columns, title=title, title_justify="left", box=None, padding=(0, 1, 0, 0))


def _text(value: str) -> Text:
    return Text(escape_controls(value))


def _score(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


def _shares(parts: QualityParts) -> list[str]:
    values = (parts.completeness, parts.validity, parts.freshness, parts.uniqueness, parts.volume)
    return ["" if value is None else f"{value:.0%}" for value in values]
