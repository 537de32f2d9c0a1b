"""`onefold sql`."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr

from embedded import secrets
from ops.connect import DEFAULT_DIR, DataDir, find
from warehouse.client import HISTORY_SECONDS, Warehouse
from runtime.errors import Invalid, Misconfigured, Permanent
from runtime.settings import Settings

Query = Annotated[str, typer.Argument(help="one statement that reads")]
Format = Annotated[str, typer.Option("--format", help="ClickHouse's output format: PrettyCompact, TSV, CSV, JSONEachRow …")]
Parameters = Annotated[list[str] | None, typer.Option("--param", "-p", help="a bound parameter, name=value, for {name:Type}")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(sql)


def sql(query: Query, *, form: Format = "PrettyCompact", param: Parameters = None, data_dir: DataDir = DEFAULT_DIR) -> None:
    """Ask ClickHouse as the analyst, who may read everything and change nothing."""
    if not form.isalnum():
        raise Invalid("--format is a word such as TSV", path="format")
    answer = asyncio.run(_ask(query, form, parameters(param or []), data_dir))
    sys.stdout.buffer.write(answer)
    sys.stdout.buffer.flush()


def parameters(given: list[str]) -> dict[str, str]:
    """`name=value` pairs; raises Invalid for one that is none."""
    pairs = [entry.partition("=") for entry in given]
    if any(not name.isidentifier() or not equals for name, equals, _ in pairs):
        raise Invalid("-p takes name=value, the name a word", path="param")
    return {name: value for name, _, value in pairs}


async def _ask(query: str, form: str, bound: dict[str, str], data_dir: Path) -> bytes:
    warehouse = await Warehouse.connect(as_analyst(find(data_dir)), answer_s=HISTORY_SECONDS)
    try:
        limits = {"readonly": 2, "output_format_pretty_color": int(sys.stdout.isatty())}
        return await warehouse.raw(query, bound, form, limits)
    except (Permanent, Misconfigured) as error:
        # whoever wrote the statement may read ClickHouse's own words about it
        raise Permanent(str(error.__cause__ or error)) from error
    finally:
        await warehouse.aclose()


def as_analyst(settings: Settings) -> Settings:
    """The same ClickHouse by the embedded stack's reading user; a server's user is held to reading by each request."""
    if settings.mode != "embedded":
        return settings
    kept = secrets.load(settings.data_dir / "run" / "secrets.json")
    scheme, _, place = settings.clickhouse_url.get_secret_value().partition("://")
    url = f"{scheme}://{secrets.ANALYST_USER}:{kept.clickhouse_analyst}@{place.rpartition('@')[2]}"
    return settings.model_copy(update={"clickhouse_url": SecretStr(url)})
