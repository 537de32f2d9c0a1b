"""`onefold sql`."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr

from embedded import secrets
from embedded.clickhouse.lexer import AmbiguousSyntax
from embedded.clickhouse.statement_scan import scan
from embedded.layout import Layout
from ops.cli.options import DEFAULT_DIR, DataDir
from ops.cli.terminal import write_data
from ops.connect import find_settings
from runtime.errors import Invalid, Misconfigured, Permanent
from runtime.settings import Settings
from warehouse.client import HISTORY_READ_TIMEOUT_S, Warehouse

Query = Annotated[str, typer.Argument(help="one statement, which only reads")]
Format = Annotated[str, typer.Option("--format", help="ClickHouse's output format: PrettyCompact, TSV, CSV, JSONEachRow …")]
Parameters = Annotated[list[str] | None, typer.Option("--param", "-p", help="a bound parameter, name=value, for {name:Type}")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(sql)


def sql(
    query: Query, *, output_format: Format = "PrettyCompact", param: Parameters = None, data_dir: DataDir = DEFAULT_DIR
) -> None:
    """Query ClickHouse as the analyst, who may read everything and change nothing."""
    if not output_format.isalnum():
        raise Invalid("--format is a word such as TSV", path="format")
    statement = check_statement(query)
    answer = asyncio.run(_run_query(statement, output_format, parse_parameters(param or []), data_dir))
    write_data(answer)


def check_statement(query: str) -> str:
    """Return the statement without its last semicolon.

    Raises Invalid for an empty text, several statements, and a FORMAT, for which the command has an option.
    """
    try:
        statement = scan(query)
    except AmbiguousSyntax:  # ClickHouse says what is wrong with it
        return query
    if statement.first_word in ("", ";"):
        raise Invalid("the statement is empty: onefold sql 'SELECT count() FROM events'", path="query")
    if statement.statement_count > 1:
        raise Invalid("one statement at a time: run `onefold sql` once for each", path="query")
    if statement.format is not None:
        raise Invalid(f"leave FORMAT out of the statement, and say --format {statement.format}", path="format")
    return query.rstrip().rstrip(";")


def parse_parameters(entries: list[str]) -> dict[str, str]:
    """Return the `name=value` pairs. Raises Invalid for an entry of another form."""
    pairs = [entry.partition("=") for entry in entries]
    if any(not name.isidentifier() or not equals for name, equals, _ in pairs):
        raise Invalid("-p takes name=value, where the name is a word", path="param")
    return {name: value for name, _, value in pairs}


async def _run_query(query: str, output_format: str, bound_parameters: dict[str, str], data_dir: Path) -> bytes:
    warehouse = await Warehouse.connect(as_analyst(find_settings(data_dir)), read_timeout_s=HISTORY_READ_TIMEOUT_S)
    try:
        limits = {"readonly": 2, "output_format_pretty_color": 0}  # colours are control characters, as values can hold them
        return await warehouse.query_formatted(query, bound_parameters, output_format, limits)
    except (Permanent, Misconfigured) as error:
        # The person who wrote the statement may read ClickHouse's own message about it.
        raise Permanent(str(error.__cause__ or error)) from error
    finally:
        await warehouse.aclose()


def as_analyst(settings: Settings) -> Settings:
    """Return settings that reach the same ClickHouse as the stack's reading user; on a server each request is read-only."""
    if settings.mode != "embedded":
        return settings
    stored_secrets = secrets.load_or_create(Layout.of(settings.data_dir))
    scheme, _, authority = settings.clickhouse_url.get_secret_value().partition("://")
    url = f"{scheme}://{secrets.ANALYST_USER}:{stored_secrets.clickhouse_analyst}@{authority.rpartition('@')[2]}"
    return settings.model_copy(update={"clickhouse_url": SecretStr(url)})
