"""`onefold tracking-plan learn`."""

import asyncio
from pathlib import Path
from typing import Annotated, Final

import re2
import typer

from domain.definitions.yaml_text import commented_yaml
from domain.intake.plan_learning import PropertyStatistics, propose
from ops.cli.options import DEFAULT_DIR, DataDir
from ops.connect import find_settings
from runtime.clock import SystemClock
from runtime.errors import Invalid
from warehouse import named_queries
from warehouse.client import Warehouse

MAX_EVENTS: Final = 500
MAX_PROPERTIES: Final = 200
UNIT_MS: Final = {"h": 3_600_000, "d": 86_400_000}

Source = Annotated[str, typer.Option("--source", help="the source whose events are read")]
Since = Annotated[str, typer.Option("--since", help="how far back events are read, such as 12h or 7d")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Learn what a source's events look like.", no_args_is_help=True)
    group.callback()(_group_callback)
    group.command("learn")(learn)
    app.add_typer(group, name="tracking-plan")


def learn(*, source: Source, since: Since = "7d", data_dir: DataDir = DEFAULT_DIR) -> None:
    """Print a tracking plan that fits what a source has sent, to be read, corrected and applied."""
    lookback_ms = parse_since_ms(since)
    events, text = asyncio.run(_learn(data_dir, source, since, SystemClock().now_ms() - lookback_ms))
    if not events:
        raise Invalid(
            f"the source {source} sent nothing in the last {since}: see `onefold status`, or look farther back", path="source"
        )
    typer.echo(text, nl=False)


def parse_since_ms(text: str) -> int:
    """Return `12h` or `7d` in milliseconds. Raises Invalid for any other form."""
    match = re2.fullmatch(r"([1-9][0-9]{0,3})([hd])", text)
    if match is None:
        raise Invalid("--since takes hours or days, such as 12h or 7d", path="since")
    return int(match[1]) * UNIT_MS[match[2]]


async def _learn(data_dir: Path, source: str, since: str, from_ms: int) -> tuple[int, str]:
    warehouse = await Warehouse.connect(find_settings(data_dir))
    try:
        return await learn_plan(warehouse, source, since, from_ms)
    finally:
        await warehouse.aclose()


async def learn_plan(warehouse: Warehouse, source: str, since: str, from_ms: int) -> tuple[int, str]:
    """Return the number of events that the plan was learned from, and the plan as YAML."""
    event_counts = await named_queries.fetch_rows(warehouse, "plan_events", source=source, since=from_ms, limit=MAX_EVENTS)
    names = [name for name, _ in event_counts]
    property_rows = await named_queries.fetch_rows(
        warehouse, "plan_properties", source=source, since=from_ms, events=names, limit=MAX_PROPERTIES
    )
    total = sum(count for _, count in event_counts)
    document = propose(source, [(name, count) for name, count in event_counts], [PropertyStatistics(*row) for row in property_rows])
    header = f"Proposed from {total} events of {since}. Read it before you apply it: enum, required and pii are guesses."
    return total, commented_yaml(document, header)


def _group_callback() -> None:
    """Exist, so that typer keeps the name of the group's only command."""
