"""A connection to ClickHouse over HTTP. Every foreign error leaves here as one of ours."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Self
from urllib.parse import urlsplit

import aiohttp
from clickhouse_connect.driver import create_async_client
from clickhouse_connect.driver.exceptions import ClickHouseError, OperationalError

from runtime.errors import Misconfigured, OnefoldError, Permanent, Transient
from runtime.settings import Settings
from warehouse.tables import Table

CONNECT_TIMEOUT_S: Final = 5.0
READ_TIMEOUT_S: Final = 60.0
HISTORY_READ_TIMEOUT_S: Final = 900.0
"""For those who ask about all of history: tens of millions of events take longer than a live question may."""

_MISCONFIGURED: Final = {
    192: "ClickHouse does not know the user: check ONEFOLD_CLICKHOUSE_URL",
    193: "ClickHouse refused the password: check ONEFOLD_CLICKHOUSE_URL",
    194: "ClickHouse asks for a password: check ONEFOLD_CLICKHOUSE_URL",
    516: "ClickHouse refused the user or the password: check ONEFOLD_CLICKHOUSE_URL",
    81: "the ClickHouse database does not exist: run `onefold prepare`",
    60: "a ClickHouse table is missing: run `onefold prepare`",
}
_TRANSIENT: Final = frozenset(
    {
        3,  # unexpected end of file
        76, 243,  # cannot open a file, not enough space
        159, 160,  # timeouts
        202, 203,  # too many queries, no free connection
        209, 210, 225,  # network, keeper
        236, 394,  # aborted, cancelled
        241,  # memory limit
        242,  # a replica is read only
        252,  # too many parts
        319, 999,  # unknown status of an insert, keeper
    }
)  # fmt: skip


class Warehouse:
    """One client, shared by the tasks of a process: it keeps no session, so requests run side by side."""

    def __init__(self, client: Any) -> None:
        self._client = client

    @classmethod
    async def connect(cls, settings: Settings, *, use_database: bool = True, read_timeout_s: float = READ_TIMEOUT_S) -> Self:
        """Connect and ask for the server's version; `use_database` is off until the database has been made. An answer that does
        not begin, or go on, within `read_timeout_s` is given up.

        Raises Transient when the server does not answer, Misconfigured for a wrong address, user, password or database.
        """
        url = settings.clickhouse_url.get_secret_value()
        if urlsplit(url).scheme not in ("http", "https"):
            raise Misconfigured("ONEFOLD_CLICKHOUSE_URL is not an http:// or https:// address")
        async with _translate_errors():
            client = await create_async_client(
                dsn=url,
                interface=urlsplit(url).scheme,
                database=settings.clickhouse_database if use_database else "default",
                connect_timeout=CONNECT_TIMEOUT_S,
                send_receive_timeout=read_timeout_s,
                autogenerate_session_id=False,
                query_retries=0,
                compress="lz4",
                client_name="onefold",
            )
        return cls(client)

    async def insert(self, table: Table, rows: Sequence[Sequence[Any]]) -> None:
        """Insert rows, given in the order of the table's columns; returns when ClickHouse has them."""
        if not rows:
            return
        async with _translate_errors():
            await self._client.insert(
                table.name,
                list(zip(*rows, strict=True)),
                column_names=[column.name for column in table.columns],
                column_type_names=[column.type for column in table.columns],
                column_oriented=True,
            )

    async def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """All rows of a read; parameters are bound as `{name:Type}`."""
        async with _translate_errors():
            result = await self._client.query(sql, parameters=dict(parameters or {}))
        return [tuple(row) for row in result.result_rows]

    async def stream_query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> AsyncIterator[list[tuple[Any, ...]]]:
        """The rows of a read, block by block, so that a large answer never lies in memory whole."""
        async with (
            _translate_errors(),
            await self._client.query_row_block_stream(sql, parameters=dict(parameters or {})) as blocks,
        ):
            async for block in blocks:
                yield [tuple(row) for row in block]

    async def query_formatted(
        self, sql: str, parameters: Mapping[str, Any], output_format: str, settings: Mapping[str, Any]
    ) -> bytes:
        """The answer in ClickHouse's output format `output_format`."""
        async with _translate_errors():
            response: bytes = await self._client.raw_query(
                sql, parameters=dict(parameters), fmt=output_format, settings=dict(settings)
            )
        return response

    async def command(self, sql: str, parameters: Mapping[str, Any] | None = None) -> None:
        """A statement without an answer."""
        async with _translate_errors():
            await self._client.command(sql, parameters=dict(parameters or {}))

    async def ping(self) -> None:
        """Ask for one row; raises Transient when none comes."""
        async with _translate_errors(), asyncio.timeout(CONNECT_TIMEOUT_S):
            await self._client.query("SELECT 1")

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()


@asynccontextmanager
async def _translate_errors() -> AsyncIterator[None]:
    try:
        yield
    except ClickHouseError as error:
        raise translate_error(error) from error
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise Transient(f"ClickHouse does not answer: {type(error).__name__}") from error


def translate_error(error: ClickHouseError) -> OnefoldError:
    """Ours for one of the driver's. The text keeps ClickHouse's code and its name, not its message: that may quote values."""
    code, name = getattr(error, "code", None), getattr(error, "name", None)
    if code is None:
        kind = Transient if isinstance(error, OperationalError) else Permanent
        return kind(f"ClickHouse: {type(error).__name__}")
    if code in _MISCONFIGURED:
        return Misconfigured(_MISCONFIGURED[code])
    text = f"ClickHouse answered with error {code} ({name or 'unnamed'})"
    return Transient(text) if code in _TRANSIENT else Permanent(text)
