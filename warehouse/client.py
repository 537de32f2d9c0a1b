"""A client of ClickHouse over HTTP. It turns every error of the driver into an error of `runtime.errors`."""

import asyncio
import struct
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Self

import aiohttp
from clickhouse_connect.driver import create_async_client
from clickhouse_connect.driver.exceptions import ClickHouseError

from runtime.errors import Misconfigured, Permanent, Transient
from runtime.settings import Settings
from runtime.tls import explain_refusal
from warehouse.connection import client_arguments
from warehouse.error_codes import RowsRefused, translate_error
from warehouse.tables import Table

CONNECT_TIMEOUT_S: Final = 5.0
READ_TIMEOUT_S: Final = 60.0
HISTORY_READ_TIMEOUT_S: Final = 900.0
"""The time limit of reads over all of history: tens of millions of events take longer than an interactive question may."""
_UNWRITABLE: Final = (ValueError, TypeError, ArithmeticError, struct.error, AttributeError, KeyError)
"""What the driver raises for a value that it cannot write into the column's type."""


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
        """Insert rows, given in the order of the table's columns; returns when ClickHouse has them.

        Raises RowsRefused when a row can never be stored as it is, BatchTooLarge when fewer may fit, and Transient for every
        other error of ClickHouse: one that Onefold does not know is no reason to give up a row.
        """
        if not rows:
            return
        try:
            async with _translate_errors():
                await self._client.insert(
                    table.name,
                    list(zip(*rows, strict=True)),
                    column_names=[column.name for column in table.columns],
                    column_type_names=[column.type for column in table.columns],
                    column_oriented=True,
                )
        except RowsRefused:
            raise
        except Permanent as error:
            raise Transient(f"{error}: not a known error of an insert, so it is retried") from error
        except _UNWRITABLE as error:
            raise RowsRefused(f"a value does not fit its column ({type(error).__name__})") from error

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
