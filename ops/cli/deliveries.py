"""`onefold deliveries list`, `show` and `resend`."""

import asyncio
import json
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from domain.instants import instant_ms
from ops.cli.options import DEFAULT_DIR, AsJson, DataDir
from ops.cli.terminal import open_console
from ops.connect import connect
from ops.deliveries.entries import (
    MAX_LISTED,
    STATES,
    DeliveryEntry,
    DeliveryQuery,
    DeliveryStep,
    entry_to_json,
    history_to_json,
    list_deliveries,
    read_delivery,
    require_state,
)
from ops.deliveries.resend import Resender, ResendResult
from runtime.clock import SystemClock
from runtime.errors import Invalid

DestinationName = Annotated[str, typer.Option("--destination", help="only deliveries to this destination")]
SegmentName = Annotated[str, typer.Option("--segment", help="only deliveries about this segment")]
ProfileId = Annotated[str, typer.Option("--profile", help="only deliveries about this profile id")]
Since = Annotated[str, typer.Option("--since", help="only deliveries that changed from this instant on, ISO 8601")]
State = Annotated[str, typer.Option("--state", help=f"{', '.join(STATES)} or all")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="List the messages to destinations, and send them again.", no_args_is_help=True)
    group.command("list")(list_entries)
    group.command()(show)
    group.command()(resend)
    app.add_typer(group, name="deliveries")


def list_entries(
    *,
    state: State = "all",
    destination: DestinationName = "",
    segment: SegmentName = "",
    profile: ProfileId = "",
    since: Since = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=MAX_LISTED, help="the largest number of deliveries")] = 50,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DIR,
) -> None:
    """List the newest deliveries: what was delivered, waits, failed or was skipped."""
    query = _query((), state, destination, segment, profile, since, limit)
    entries = asyncio.run(_list(data_dir, query))
    if as_json:
        typer.echo(json.dumps([entry_to_json(entry) for entry in entries]))
        return
    if not entries:
        typer.echo("no delivery fits these options")
    console = open_console()
    for entry in entries:
        console.print(Text.assemble((entry.key, "bold"), f"  {_instant(entry.at_ms)}  {entry.destination}"), soft_wrap=True)
        console.print(Text(f"    {entry.segment} {entry.op}: {describe(entry)}"), soft_wrap=True)


def show(
    key: Annotated[str, typer.Argument(help="a delivery's key, from `deliveries list`: its webhook-id")],
    *,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DIR,
) -> None:
    """Show one delivery with everything that became of it."""
    entry, steps = asyncio.run(_show(data_dir, key))
    if as_json:
        typer.echo(json.dumps(history_to_json(entry, steps)))
        return
    for name, value in entry_to_json(entry).items():
        typer.echo(f"{name}: {value}")
    typer.echo("")
    for step in steps:
        typer.echo(f"{_instant(step.at_ms)}  {describe(step)}")


def resend(
    keys: Annotated[
        list[str] | None, typer.Argument(help="keys of deliveries; without them all deliveries that the options select")
    ] = None,
    *,
    state: State = "failed",
    destination: DestinationName = "",
    segment: SegmentName = "",
    profile: ProfileId = "",
    since: Since = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=MAX_LISTED, help="the largest number of deliveries")] = 10_000,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only show what would be sent again and what cannot be")] = False,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DIR,
) -> None:
    """Send messages again, with the same id and body, by default those that have failed.

    A message that waits is tried at once. Exit 1 when there is one that cannot be sent again.
    """
    if not keys and not (destination or segment or profile or since):
        raise Invalid("name keys, or narrow the deliveries by --destination, --segment, --profile or --since", path="key")
    query = _query(tuple(keys or ()), "all" if keys else state, destination, segment, profile, since, limit)
    result = asyncio.run(_resend(data_dir, query, dry_run=dry_run))
    if as_json:
        typer.echo(json.dumps({"resent": result.resent, "refused": [{"key": key, "why": why} for key, why in result.refused]}))
    else:
        typer.echo(
            f"{result.resent:,} {'would be' if dry_run else 'will be'} sent again, {len(result.refused):,} cannot be sent again"
        )
        for key, why in result.refused[:20]:
            typer.echo(f"  {key}  {why}")
    raise typer.Exit(1 if result.refused else 0)


def describe(step: DeliveryEntry | DeliveryStep) -> str:
    """Return in words what became of a message."""
    attempts = f"{step.attempts} attempt{'' if step.attempts == 1 else 's'}"
    if step.state == "waiting" and step.verdict == "in_order":
        return "waits behind an earlier message of its profile"
    if step.state == "waiting":
        return f"waits after {attempts}, the next one at {_instant(step.next_ms)}: {step.detail}"
    if step.state == "skipped":
        return f"skipped: {step.verdict}"
    if step.state == "failed":
        return f"failed after {attempts}: {step.verdict}, {step.detail}"
    return f"{step.state} at attempt {step.attempts}: HTTP {step.status}"


def _query(
    keys: tuple[str, ...], state: str, destination: str, segment: str, profile: str, since: str, limit: int
) -> DeliveryQuery:
    since_ms = instant_ms(since) if since else 0
    if since_ms is None:
        raise Invalid("--since: not an ISO 8601 instant, such as 2026-01-31T09:00:00+07:00", path="since")
    require_state(state)
    return DeliveryQuery(keys, destination, segment, profile, state, since_ms, max(limit, len(keys)))


def _instant(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1_000, UTC):%Y-%m-%d %H:%M:%S}Z"


async def _list(data_dir: Path, query: DeliveryQuery) -> list[DeliveryEntry]:
    async with connect(data_dir) as connection:
        return await list_deliveries(connection.warehouse, query)


async def _show(data_dir: Path, key: str) -> tuple[DeliveryEntry, list[DeliveryStep]]:
    async with connect(data_dir) as connection:
        return await read_delivery(connection.warehouse, key)


async def _resend(data_dir: Path, query: DeliveryQuery, *, dry_run: bool) -> ResendResult:
    async with connect(data_dir) as connection, AsyncExitStack() as stack:
        entries = await list_deliveries(connection.warehouse, query)
        if missing := set(query.keys) - {entry.key for entry in entries}:
            raise Invalid(f"{len(missing)} of the keys name no delivery: see `onefold deliveries list`", path="key")
        producer = None if dry_run else await connection.bus.producer()
        if producer is not None:
            stack.push_async_callback(producer.aclose)
        return await Resender(connection.settings, connection.bus, producer, SystemClock()).resend(connection.warehouse, entries)
