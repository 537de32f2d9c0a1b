"""A client of ClickHouse over HTTP. It turns every error of the driver into an error of `runtime.errors`."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Self

import aiohttp
from clickhouse_connect.driver import create_async_client
from clickhouse_connect.driver.exceptions import ClickHouseError, OperationalError

from runtime.errors import Misconfigured, OnefoldError, Permanent, Transient
from runtime.settings import Settings
from runtime.tls import explain_refusal
from warehouse.connection import client_arguments
from warehouse.tables import Table

CONNECT_TIMEOUT_S: Final = 5.0
READ_TIMEOUT_S: Final = 60.0
HISTORY_READ_TIMEOUT_S: Final = 900.0
"""The time limit of reads over all of history: tens of millions of events take longer than an interactive question may."""

_MISCONFIGURED: Final = {
    192: "ClickHouse does not know the user: check ONEFOLD_CLICKHOUSE_URL, …_USER and …_PASSWORD",
    193: "ClickHouse refused the password: check ONEFOLD_CLICKHOUSE_URL, …_USER and …_PASSWORD",
    194: "ClickHouse asks for a password: check ONEFOLD_CLICKHOUSE_URL, …_USER and …_PASSWORD",
    516: "ClickHouse refused the user or the password: check ONEFOLD_CLICKHOUSE_URL, …_USER and …_PASSWORD",
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
    """One client for all tasks of a process. It has no session, so requests can run at the same time.

    Every method raises Transient for errors that may pass by themselves, Misconfigured for errors that an operator must correct,
    and Permanent for all others.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    @classmethod
    async def connect(cls, settings: Settings, *, use_database: bool = True, read_timeout_s: float = READ_TIMEOUT_S) -> Self:
        """Connect, and read the server's version.

        `use_database` is off until the database was created. A read that gives no answer, or no further part of it, within
        `read_timeout_s` fails. Raises Transient when the server does not answer, Misconfigured for a wrong address, user,
        password or database.
        """
        arguments = client_arguments(settings)
        async with _translate_errors():
            client = await create_async_client(
                **arguments,
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
        """Return all rows of a read; parameters are bound as `{name:Type}`."""
        async with _translate_errors():
            result = await self._client.query(sql, parameters=dict(parameters or {}))
        return [tuple(row) for row in result.result_rows]

    async def stream_query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> AsyncIterator[list[tuple[Any, ...]]]:
        """Yield the rows of a read block by block, so that a large answer is never in memory as a whole."""
        async with (
            _translate_errors(),
            await self._client.query_row_block_stream(sql, parameters=dict(parameters or {})) as blocks,
        ):
            async for block in blocks:
                yield [tuple(row) for row in block]

    async def query_formatted(
        self, sql: str, parameters: Mapping[str, Any], output_format: str, settings: Mapping[str, Any]
    ) -> bytes:
        """Return the bytes of an answer in one of ClickHouse's output formats."""
        async with _translate_errors():
            response: bytes = await self._client.raw_query(
                sql, parameters=dict(parameters), fmt=output_format, settings=dict(settings)
            )
        return response

    async def command(self, sql: str, parameters: Mapping[str, Any] | None = None) -> None:
        """Execute a statement that returns no rows."""
        async with _translate_errors():
            await self._client.command(sql, parameters=dict(parameters or {}))

    async def ping(self) -> None:
        """Read one row; raise Transient when none comes in time."""
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
        raise _explain_tls(error) or translate_error(error) from error
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise _explain_tls(error) or Transient(f"ClickHouse does not answer: {type(error).__name__}") from error


def _explain_tls(error: BaseException) -> Misconfigured | None:
    explanation = explain_refusal(error, "clickhouse")
    return Misconfigured(f"ClickHouse: {explanation}") if explanation else None


def translate_error(error: ClickHouseError) -> OnefoldError:
    """Return our error for one of the driver's.

    The text has ClickHouse's code and its name, but not its message, because the message may quote personal data.
    """
    code, name = getattr(error, "code", None), getattr(error, "name", None)
    if code is None:
        kind = Transient if isinstance(error, OperationalError) else Permanent
        return kind(f"ClickHouse: {type(error).__name__}")
    if code in _MISCONFIGURED:
        return Misconfigured(_MISCONFIGURED[code])
    text = f"ClickHouse answered with error {code} ({name or 'unnamed'})"
    return Transient(text) if code in _TRANSIENT else Permanent(text)
