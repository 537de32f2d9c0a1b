"""`onefold quarantine`: list, show, fix, replay, discard."""

import asyncio
import getpass
import json
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress
from rich.text import Text

from domain.instants import instant_ms
from ops.cli.options import DEFAULT_DIR, AsJson, DataDir
from ops.cli.terminal import open_console
from ops.connect import connect
from ops.quarantine.edits import RecordEdits, parse_assignment, parse_rename
from ops.quarantine.entries import (
    STATES,
    QuarantineEntry,
    QuarantineQuery,
    check_filters,
    entry_to_json,
    list_entries,
    read_entries,
)
from ops.quarantine.replay_runner import MAX_RECORDS, ReplayResult, ReplayRunner, load_replay_decider, matching_ids
from runtime.clock import SystemClock
from runtime.errors import Invalid

Ids = Annotated[
    list[str] | None,
    typer.Argument(help="ids of records, from `quarantine list`; without them all records that the options select"),
]
Reason = Annotated[str, typer.Option("--reason", help="only records with this reason")]
Stage = Annotated[str, typer.Option("--stage", help="only records of this stage")]
Source = Annotated[str, typer.Option("--source", help="only records of this source")]
Since = Annotated[str, typer.Option("--since", help="only records from this instant on, ISO 8601")]
By = Annotated[str, typer.Option("--by", help="who does this, for the audit; by default the user of the operating system")]
Rate = Annotated[int, typer.Option("--rate", min=1, max=100_000, help="the largest number of records per second")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="only show what would be sent and what would not")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=MAX_RECORDS, help="the largest number of records")]
_CONTROL_CHARACTERS = {code: None for code in (*range(32), *range(127, 160)) if code not in (9, 10)}
"""Control characters, which a raw record could steer a terminal with."""


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="List, repair, replay and discard the records that could not be stored.", no_args_is_help=True)
    group.command("list")(list_records)
    for command in (show, fix, replay, discard):
        group.command()(command)
    app.add_typer(group, name="quarantine")


def list_records(
    *,
    reason: Reason = "",
    stage: Stage = "",
    source: Source = "",
    since: Since = "",
    state: Annotated[str, typer.Option("--state", help=f"{', '.join(STATES)} or all")] = "open",
    limit: Limit = 50,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DIR,
) -> None:
    """List the newest records in quarantine."""
    selection = _select((), reason, stage, source, since, limit, state)
    entries = asyncio.run(_load_entries(data_dir, selection))
    if as_json:
        typer.echo(json.dumps([entry_to_json(entry) for entry in entries]))
        return
    if not entries:
        typer.echo(
            f"no {'' if state == 'all' else state + ' '}record in quarantine{' fits' if reason or stage or source or since else ''}"
        )
    console = open_console()
    for entry in entries:
        at = datetime.fromtimestamp(entry.at_ms / 1_000, UTC)
        description = " ".join(filter(None, (entry.stage, entry.reason, entry.source, entry.state)))
        console.print(Text.assemble((entry.id, "bold"), f"  {at:%Y-%m-%d %H:%M:%S}  {description}"), soft_wrap=True)
        console.print(Text(f"    {entry.detail}".rstrip()), soft_wrap=True)


def show(
    id: Annotated[str, typer.Argument(help="a record's id, from `quarantine list`")],  # noqa: A002 - the word users see
    *,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DIR,
) -> None:
    """Show one record whole, with the bytes that came in."""
    entries = asyncio.run(_load_with_raw(data_dir, id))
    if not entries:
        raise Invalid("no record in quarantine has this id: see `onefold quarantine list`", path="id")
    raw = entries[0].raw.decode("utf-8", "backslashreplace")
    if as_json:
        typer.echo(json.dumps({**entry_to_json(entries[0]), "raw": raw}))
        return
    for name, value in entry_to_json(entries[0]).items():
        typer.echo(f"{name}: {value}")
    typer.echo(f"\n{raw.translate(_CONTROL_CHARACTERS)}")


def fix(
    ids: Ids = None,
    *,
    put: Annotated[list[str] | None, typer.Option("--set", help="path=value: put a value into each record (JSON, or text)")] = None,
    drop: Annotated[list[str] | None, typer.Option("--drop", help="remove the field at this path")] = None,
    rename: Annotated[list[str] | None, typer.Option("--rename", help="old=new: move a field to another path")] = None,
    file: Annotated[Path | None, typer.Option("--file", help="a file with the whole repaired record, for a single id")] = None,
    reason: Reason = "",
    stage: Stage = "",
    source: Source = "",
    since: Since = "",
    limit: Limit = MAX_RECORDS,
    rate: Rate = 500,
    dry_run: DryRun = False,
    by: By = "",
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DIR,
) -> None:
    """Repair records and send them again.

    Records that still cannot be stored stay in quarantine, as they are. Exit 1 when there are any.
    """
    if file is not None and len(ids or ()) != 1:
        raise Invalid("a file repairs one record: name its id", path="file")
    edits = RecordEdits(
        put=tuple(parse_assignment(text) for text in put or ()),
        drop=tuple(drop or ()),
        rename=tuple(parse_rename(text) for text in rename or ()),
        raw=None if file is None else _read_file(file),
    )
    if not edits:
        raise Invalid("name a repair: --set, --drop, --rename or --file; or use `replay`", path="set")
    selection = _select(tuple(ids or ()), reason, stage, source, since, limit)
    _print_outcome(asyncio.run(_replay(data_dir, selection, edits, rate, by, dry_run=dry_run)), as_json=as_json, dry_run=dry_run)


def replay(
    ids: Ids = None,
    *,
    reason: Reason = "",
    stage: Stage = "",
    source: Source = "",
    since: Since = "",
    limit: Limit = MAX_RECORDS,
    rate: Rate = 500,
    dry_run: DryRun = False,
    by: By = "",
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DIR,
) -> None:
    """Send records again as they are, by the definitions that are live now.

    Records that still cannot be stored stay in quarantine. Exit 1 when there are any.
    """
    selection = _select(tuple(ids or ()), reason, stage, source, since, limit)
    _print_outcome(
        asyncio.run(_replay(data_dir, selection, RecordEdits(), rate, by, dry_run=dry_run)), as_json=as_json, dry_run=dry_run
    )


def discard(
    ids: Ids = None,
    *,
    because: Annotated[str, typer.Option("--because", help="why they are discarded, for the audit")],
    reason: Reason = "",
    stage: Stage = "",
    source: Source = "",
    since: Since = "",
    limit: Limit = MAX_RECORDS,
    by: By = "",
    data_dir: DataDir = DEFAULT_DIR,
) -> None:
    """Discard records: they stay in quarantine, and no longer count as open."""
    if not because.strip():
        raise Invalid("give a reason", path="because")
    if not (ids or reason or stage or source or since):
        raise Invalid("name records, or narrow them by --reason, --stage, --source or --since", path="id")
    selection = _select(tuple(ids or ()), reason, stage, source, since, limit)
    typer.echo(f"{asyncio.run(_discard(data_dir, selection, because, by)):,} discarded")


def _select(
    ids: tuple[str, ...], reason: str, stage: str, source: str, since: str, limit: int, state: str = "open"
) -> QuarantineQuery:
    since_ms = instant_ms(since) if since else 0
    if since_ms is None:
        raise Invalid("--since: not an ISO 8601 instant, such as 2026-01-31T09:00:00+07:00", path="since")
    query = QuarantineQuery(ids, reason, stage, source, state, since_ms, limit)
    check_filters(query)
    return query


def _read_file(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise Invalid(f"{file} cannot be read: {error.strerror}", path="file") from error


def _print_outcome(outcome: ReplayResult, *, as_json: bool, dry_run: bool) -> None:
    if as_json:
        typer.echo(
            json.dumps(
                {"sent": outcome.sent, "refused": [{"id": record_id, "why": reason} for record_id, reason in outcome.refused]}
            )
        )
    else:
        typer.echo(
            f"{outcome.sent:,} {'would be sent' if dry_run else 'sent again'}, {len(outcome.refused):,} still cannot be stored"
        )
        for name, why in outcome.refused[:20]:
            typer.echo(f"  {name}  {why}")
    raise typer.Exit(1 if outcome.refused else 0)


async def _load_entries(data_dir: Path, selection: QuarantineQuery) -> list[QuarantineEntry]:
    async with connect(data_dir) as connection:
        return await list_entries(connection.warehouse, selection)


async def _load_with_raw(data_dir: Path, record_id: str) -> Sequence[QuarantineEntry]:
    async with connect(data_dir) as connection:
        return await read_entries(connection.warehouse, [record_id])


async def _replay(
    data_dir: Path, selection: QuarantineQuery, edits: RecordEdits, rate: int, by: str, *, dry_run: bool
) -> ReplayResult:
    async with connect(data_dir) as connection, AsyncExitStack() as stack:
        producer = None if dry_run else await connection.bus.producer()
        if producer is not None:
            stack.push_async_callback(producer.aclose)
        ids = await matching_ids(connection.warehouse, selection)
        bar = stack.enter_context(Progress(console=open_console(stderr=True), transient=True))
        task = bar.add_task("sending again", total=len(ids))
        replay_runner = ReplayRunner(
            connection.settings,
            producer,
            SystemClock(),
            by or _operator(),
            rate=rate,
            progress=lambda count: bar.advance(task, count),
        )
        return await replay_runner.replay(connection.warehouse, ids, await load_replay_decider(connection), edits)


async def _discard(data_dir: Path, selection: QuarantineQuery, because: str, by: str) -> int:
    async with connect(data_dir) as connection:
        producer = await connection.bus.producer()
        try:
            ids = await matching_ids(connection.warehouse, selection)
            replay_runner = ReplayRunner(
                connection.settings, producer, SystemClock(), by or _operator(), rate=100_000, progress=lambda _: None
            )
            return await replay_runner.discard(connection.warehouse, ids, because)
        finally:
            await producer.aclose()


def _operator() -> str:
    """Return the user of the operating system who runs this command, for the audit."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
