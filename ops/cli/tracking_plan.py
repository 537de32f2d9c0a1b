"""`onefold tracking-plan learn`."""

import asyncio
import re
from pathlib import Path
from typing import Annotated, Final

import typer

from domain.intake.plan_learning import Seen, as_yaml, propose
from ops.connect import DEFAULT_DIR, DataDir, find
from warehouse import named_queries as reads
from warehouse.client import Warehouse
from runtime.clock import SystemClock
from runtime.errors import Invalid

MAX_EVENTS: Final = 500
MAX_PROPERTIES: Final = 200
UNIT_MS: Final = {"h": 3_600_000, "d": 86_400_000}

Source = Annotated[str, typer.Option("--source", help="whose events")]
Since = Annotated[str, typer.Option("--since", help="how far back to look: 12h, 7d")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="What a source's events should look like.", no_args_is_help=True)
    group.callback()(_group)
    group.command("learn")(learn)
    app.add_typer(group, name="tracking-plan")


def learn(*, source: Source, since: Since = "7d", data_dir: DataDir = DEFAULT_DIR) -> None:
    """Print a tracking plan that fits what a source has sent, to be read, mended and applied."""
    back_ms = since_ms(since)
    events, text = asyncio.run(_learn(data_dir, source, since, SystemClock().now_ms() - back_ms))
    if not events:
        raise Invalid(
            f"the source {source} sent nothing in the last {since}: see `onefold status`, or look farther back", path="source"
        )
    typer.echo(text, nl=False)


def since_ms(text: str) -> int:
    """`12h` or `7d` in milliseconds; raises Invalid."""
    found = re.fullmatch(r"([1-9][0-9]{0,3})([hd])", text)
    if found is None:
        raise Invalid("--since takes hours or days, such as 12h or 7d", path="since")
    return int(found[1]) * UNIT_MS[found[2]]


async def _learn(data_dir: Path, source: str, since: str, from_ms: int) -> tuple[int, str]:
    warehouse = await Warehouse.connect(find(data_dir))
    try:
        return await learned(warehouse, source, since, from_ms)
    finally:
        await warehouse.aclose()


async def learned(warehouse: Warehouse, source: str, since: str, from_ms: int) -> tuple[int, str]:
    """How many events the plan comes from, and the plan as YAML."""
    events = await reads.ask(warehouse, "plan_events", source=source, since=from_ms, limit=MAX_EVENTS)
    names = [name for name, _ in events]
    found = await reads.ask(warehouse, "plan_properties", source=source, since=from_ms, events=names, limit=MAX_PROPERTIES)
    total = sum(count for _, count in events)
    document = propose(source, [(name, count) for name, count in events], [Seen(*row) for row in found])
    about = f"Proposed from {total} events of {since}. Read it before you apply it: enum, required and pii are guesses."
    return total, as_yaml(document, about)


def _group() -> None:
    """So that the one command of the group keeps its name."""
