"""`onefold import`."""

import json
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import httpx
import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from domain.intake.import_columns import ImportKind
from embedded import control
from embedded.layout import Layout
from ops.cli.options import DEFAULT_DIR, AsJson, DataDir
from ops.cli.terminal import open_console
from ops.imports.collector_client import CollectorClient, require_http_url
from ops.imports.import_file import load_mapping
from ops.imports.import_run import ImportSummary, run
from runtime.clock import SystemClock
from runtime.errors import Misconfigured, Permanent, Transient

_TIMEOUT_S = 30.0


class RowKind(StrEnum):
    """What the rows of a file are."""

    CUSTOMERS = "customers"
    EVENTS = "events"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("import")(import_)


def import_(
    what: Annotated[RowKind, typer.Argument(help="customers: their traits; events: what they did, such as past purchases")],
    file: Annotated[Path, typer.Argument(help="CSV with a header, or JSONL; UTF-8 or UTF-16; - is the standard input")],
    *,
    mapping: Annotated[Path | None, typer.Option(help="YAML: columns: {name in the file: field}, constants, timezone …")] = None,
    source: Annotated[str, typer.Option(help="a trusted source whose write key `onefold status` shows")] = "server",
    event: Annotated[str | None, typer.Option(help="events: the name of an event whose row has none")] = None,
    timezone: Annotated[str | None, typer.Option(help="time zone of times without one, such as Asia/Ho_Chi_Minh")] = None,
    url: Annotated[str | None, typer.Option(envvar="ONEFOLD_COLLECTOR_URL", help="another collector than the embedded one")] = None,
    write_key: Annotated[str | None, typer.Option(envvar="ONEFOLD_SERVER_WRITE_KEY", help="write key of the source")] = None,
    data_dir: DataDir = DEFAULT_DIR,
    as_json: AsJson = False,
) -> None:
    """Import customers or past events from a file.

    Importing the same file again changes nothing. Exit 0 when every row was stored, else 1.
    """
    column_mapping = load_mapping(mapping, event, timezone)
    if url is not None:
        require_http_url(url)
    if url is None or write_key is None:
        url, write_key = _embedded_collector(data_dir, source, url, write_key)
    kind: ImportKind = "customers" if what is RowKind.CUSTOMERS else "events"
    console, started, summary = open_console(stderr=True), time.monotonic(), ImportSummary()
    try:
        with httpx.Client(base_url=url, timeout=_TIMEOUT_S) as http, _progress_bar(console) as bar:
            task = bar.add_task(file.name, total=None)
            client = CollectorClient(http, write_key, on_wait=lambda reason, wait_s: _print_wait(console, reason, wait_s))
            run(
                kind,
                file,
                column_mapping,
                client,
                lambda read, size: bar.update(task, completed=read, total=size),
                summary=summary,
                now_ms=SystemClock().now_ms(),
            )
    except (Misconfigured, Permanent):
        if summary.rows:  # otherwise nothing was sent, and the error says everything
            _print_outcome(summary, started, as_json=as_json)
        raise
    except (Transient, KeyboardInterrupt):
        _print_outcome(summary, started, as_json=as_json)
        raise
    _print_outcome(summary, started, as_json=as_json)
    raise typer.Exit(1 if summary.report else 0)


def _print_outcome(summary: ImportSummary, started_s: float, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(summary.as_dict()))
    else:
        _print_summary(summary, time.monotonic() - started_s)


def _embedded_collector(data_dir: Path, source: str, url: str | None, write_key: str | None) -> tuple[str, str]:
    state = control.send_command(Layout.of(data_dir), "status")
    address, key = url or state["addresses"]["collector"], write_key or state["write_keys"].get(source)
    if key is None:
        raise Misconfigured(f"this stack has no write key of source {source}: give it with --write-key or ONEFOLD_SERVER_WRITE_KEY")
    return address, key


def _progress_bar(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal)


def _print_wait(console: Console, reason: str, wait_s: float) -> None:
    console.print(
        f"waiting for the collector: {reason}; the next attempt is in {wait_s:.1f} s", markup=False, highlight=False, soft_wrap=True
    )


def _print_summary(summary: ImportSummary, seconds: float) -> None:
    print(f"{summary.rows:,} rows in {seconds:.1f} s: {summary.stored:,} stored", end="")
    print(f", {summary.refused:,} not sent, {summary.quarantined:,} in quarantine" if summary.report else "")
    for reason, count in sorted(summary.reasons.items()):
        print(f"  {reason}: {count:,}; the first is {summary.first_by_reason[reason]}")
    if summary.report:
        print(f"rows that were not stored, each with its line, the reason and what is wrong: {summary.report}")
    if summary.interrupted:
        print("the import ended before the end of the file; run it again as it is: rows that are stored are not stored twice")
