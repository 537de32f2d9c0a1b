"""Runs one statement of one request on one engine connection."""

import asyncio
import contextlib
import functools
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from embedded.clickhouse.engine import Engine, EngineConnection, EngineResult, EngineStream
from embedded.clickhouse.exchange import Exchange
from embedded.clickhouse.limits import READER_RESULT_BYTES
from embedded.clickhouse.native_frames import BINARY_TYPES_SETTING, frame_blocks, parse_version
from embedded.clickhouse.protocol import (
    CARRIER_SETTING,
    STREAMABLE,
    ClientDisconnected,
    QueryRefused,
    database_of,
    quote_literal,
    settings_of,
)
from embedded.clickhouse.sessions import EngineSession
from embedded.clickhouse.slots import Caller
from embedded.clickhouse.staged_insert import STAGE_SETTINGS, StagedInsert
from embedded.clickhouse.statement_scan import READING_WORDS, InsertHead, Statement

_FIRST_BYTES = 1 << 20
_INSERT_BYTES = 4 << 20
_KILL_EVERY_S = 0.5
"""How often a query is ended again whose client has left: the first time it may not have begun."""

_MEMORY_CHECK_EVERY_S = 0.1
"""How often the engine's memory is looked at while a reader's result grows in it, which the engine counts to no query."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part of an answer; `stream` gives the next one, and is None when this is the last."""

    stream: EngineStream | None
    chunks: list[bytes]
    counts: dict[str, int]


class StatementRun:
    """One statement on the connection of its session, or on one of its own."""

    def __init__(self, engine: Engine, exchange: Exchange, caller: Caller, session: EngineSession | None) -> None:
        self._engine, self._exchange, self._caller, self._session = engine, exchange, caller, session
        self._request = exchange.request
        self._carrier = caller.carrier(self._request.query_id)
        self._settings = settings_of(self._request) | {CARRIER_SETTING: self._carrier}
        self._database = database_of(self._request)
        self._connection: EngineConnection | None = None
        self._framing_version = 0

    async def close(self) -> None:
        """Give the connection back; a session keeps its own."""
        if self._connection is not None and self._session is None:
            await self._run_in_pool(self._connection.close)

    async def _run_in_pool(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._engine.pool(self._caller.name), call)

    def _prepare_connection(self) -> EngineConnection:
        """In the pool: the connection, with this request's database and settings."""
        session, first = self._session, self._caller.limits.first_settings
        settings = dict(self._settings)
        if session is None:
            self._connection = self._engine.open(self._caller.role)
            settings = first | settings
        elif session.connection is None:
            self._connection = session.connection = self._engine.open(self._caller.role)
            settings = first | settings
        else:
            self._connection = session.connection
        setup_statements = [f"USE `{self._database}`"] if self._database else []
        if session is not None and session.changed_settings:
            values = {name: quote_literal(first[name]) if name in first else "DEFAULT" for name in session.changed_settings}
            setup_statements.append(_set_statement(values))
            session.changed_settings = ()
        setup_statements.append(_set_statement({name: quote_literal(value) for name, value in settings.items()}))
        if session is not None:
            session.changed_settings = tuple(self._settings)
        self._connection.query(";".join(setup_statements), "Null")
        return self._connection

    def read_only(self, statement: Statement) -> None:
        """GET never writes. A setting does it, except in a session, where it could not be undone.

        Raises:
            QueryRefused: 164 for a statement that writes, in a session.
        """
        if self._caller.role == "analyst":
            return
        if self._session is None:
            self._settings.setdefault("readonly", "2")
        elif statement.first_word not in READING_WORDS:
            raise QueryRefused(164, f"Cannot execute {statement.first_word.upper()[:32]} in readonly mode: use POST", "READONLY")

    async def select(self, sql: str, statement: Statement, disconnected: "asyncio.Future[None]") -> None:
        """Run a statement and send what it gives. It ends when the client leaves.

        Raises:
            ClientDisconnected: when the client left before it had the whole answer.
        """
        exchange = self._exchange
        fallback = self._request.values.get("default_format") or self._request.headers.get("x-clickhouse-format")
        exchange.format = statement.format or fallback or "TabSeparated"
        self._choose_framing(sql, exchange.format)
        is_streamed = (
            exchange.format in STREAMABLE
            and statement.first_word in {"select", "with"}
            and not self._request.flag("wait_end_of_query")
        )
        memory = None if is_streamed else self._caller.limits.scarce_memory_bytes
        start = functools.partial(self._start_select, sql, exchange.format, is_streamed=is_streamed)
        await self._send_results(await self._run_while_connected(start, disconnected, memory), disconnected)

    async def _run_while_connected(
        self, call: "Callable[[], _Piece]", disconnected: "asyncio.Future[None]", scarce_memory_bytes: int | None = None
    ) -> "_Piece":
        """Run a part of the query in the pool. End the query when the client leaves, or memory becomes scarce, meanwhile.

        Raises:
            ClientDisconnected: when the client left.
            QueryRefused: 241 when the engine had more memory in use than `scarce_memory_bytes`.
        """
        execution = asyncio.ensure_future(self._run_in_pool(call))
        try:
            is_scarce = await self._wait_for_end({execution, disconnected}, scarce_memory_bytes)
        finally:
            while not execution.done():
                self._engine.kill(self._carrier)
                await asyncio.wait({execution}, timeout=_KILL_EVERY_S)
        if is_scarce:
            execution.exception()  # that the query was killed, which is not the reason to give
            text = "The engine is short of memory: ask for less, or in a format that is streamed (TSV, CSV, JSONEachRow, Native)"
            raise QueryRefused(241, text, "MEMORY_LIMIT_EXCEEDED")
        if disconnected.done():
            if execution.exception() is None and (stream := execution.result().stream) is not None:
                await self._run_in_pool(stream.cancel)
            raise ClientDisconnected
        return execution.result()

    async def _wait_for_end(self, ends: "set[asyncio.Future[Any]]", scarce_memory_bytes: int | None) -> bool:
        """Wait until one of `ends` is done. Return True, without waiting longer, once memory is scarce."""
        if scarce_memory_bytes is None:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            return False
        while not (await asyncio.wait(ends, timeout=_MEMORY_CHECK_EVERY_S, return_when=asyncio.FIRST_COMPLETED))[0]:
            if await asyncio.wrap_future(self._engine.memory_in_use()) > scarce_memory_bytes:
                return True
        return False

    def _choose_framing(self, sql: str, format_: str) -> None:
        """Ask the engine for binary types where the blocks must be framed for the client's version of the protocol.

        Raises:
            QueryRefused: for a version that is no number, and where the statement or its settings write types in binary themselves.
        """
        version = parse_version(self._request.values.get("client_protocol_version", "0"))
        if format_.lower() != "native" or not version:
            return
        if BINARY_TYPES_SETTING in self._settings or BINARY_TYPES_SETTING in sql:
            raise QueryRefused(48, f"{BINARY_TYPES_SETTING} with client_protocol_version is not supported", "NOT_IMPLEMENTED")
        self._framing_version = version
        self._settings[BINARY_TYPES_SETTING] = "1"

    def _framed(self, result: EngineResult) -> bytes:
        """In the pool: the bytes of a result, as the client reads them."""
        data = result.bytes()
        return frame_blocks(data, self._framing_version) if self._framing_version else data

    def _start_select(self, sql: str, format_: str, *, is_streamed: bool) -> "_Piece":
        """In the pool, in one go: settings, query, first megabyte."""
        connection, bound_parameters = self._prepare_connection(), self._request.bound_parameters
        if not is_streamed:
            result = connection.query(sql, format_, params=bound_parameters)
            if self._caller.role == "analyst" and result.size() > READER_RESULT_BYTES:
                text = f"The result is too large for {format_[:64]!a}, which is not streamed: at most {READER_RESULT_BYTES} bytes. "
                raise QueryRefused(396, f"{text}Use TSV, CSV, JSONEachRow or Native", "TOO_MANY_ROWS_OR_BYTES")
            return _Piece(None, [self._framed(result)], _counts([result]))
        return self._fetch_piece(connection.send_query(sql, format_, params=bound_parameters))

    def _fetch_piece(self, stream: EngineStream) -> "_Piece":
        """In the pool: chunks worth about a megabyte."""
        results: list[EngineResult] = []
        size = 0
        while size < _FIRST_BYTES:
            chunk = stream.fetch()
            if chunk is None:
                return _Piece(None, [self._framed(result) for result in results], _counts(results))
            results.append(chunk)
            size += chunk.size()
        try:
            return _Piece(stream, [self._framed(result) for result in results], _counts(results))
        except QueryRefused:
            stream.cancel()
            raise

    async def _send_results(self, piece: "_Piece", disconnected: "asyncio.Future[None]") -> None:
        if piece.stream is None:
            await self._exchange.reply(piece.chunks, piece.counts)
            return
        await self._exchange.start(piece.counts)
        stream = piece.stream
        while piece.stream is not None:
            # the next piece is fetched while this one is sent; both end when the client leaves
            next_fetch = asyncio.ensure_future(self._run_while_connected(lambda: self._fetch_piece(stream), disconnected))
            try:
                for chunk in piece.chunks:
                    await self._exchange.chunk(chunk)
            finally:
                await asyncio.wait({next_fetch})
            piece = next_fetch.result()
        for chunk in piece.chunks:
            await self._exchange.chunk(chunk)
        await self._exchange.end()

    async def insert(self, head: InsertHead, data: bytes, rest: AsyncIterator[bytes]) -> None:
        """Push the data of an INSERT into the engine as it comes; nothing is acknowledged before all of it is stored."""
        self._exchange.format = head.format
        self._settings |= STAGE_SETTINGS
        inserts: list[StagedInsert] = []
        buffer = bytearray(data)
        started = time.perf_counter_ns()

        def push(piece: bytes) -> StagedInsert:
            if not inserts:
                connection = self._prepare_connection()
                for name, value in self._request.bound_parameters.items():
                    connection.query(f"SET {_parameter_name(name)} = {quote_literal(value)}", "Null")
                inserts.append(StagedInsert(connection, head))
            inserts[0].append(piece)
            return inserts[0]

        try:
            async for piece in rest:
                buffer += piece
                if len(buffer) >= _INSERT_BYTES:
                    full = bytes(buffer)
                    buffer.clear()
                    await self._run_in_pool(lambda full=full: push(full))  # type: ignore[misc]  # a bound default types as no Callable[[], T]
            written = await self._run_in_pool(lambda: push(bytes(buffer)).finish())
        except BaseException:
            if inserts:
                with contextlib.suppress(RuntimeError):  # the insert has failed already: its own error is the one to tell
                    await self._run_in_pool(inserts[0].discard)
            raise
        if self._session is not None:  # a connection that stays would keep the rows in memory
            await self._run_in_pool(inserts[0].discard)
        counts = {"written_rows": written.rows, "written_bytes": written.bytes, "result_rows": written.rows}
        await self._exchange.reply([], counts | {"elapsed_ns": time.perf_counter_ns() - started})


def _set_statement(values: Mapping[str, str]) -> str:
    return "SET " + ", ".join(f"{name} = {value}" for name, value in values.items())


def _parameter_name(name: str) -> str:
    if not name.isidentifier() or not name.isascii():
        raise QueryRefused(36, "param_<name>: the name must be an identifier", "BAD_ARGUMENTS")
    return f"param_{name}"


def _counts(results: list[EngineResult]) -> dict[str, int]:
    return {
        "read_rows": sum(result.storage_rows_read() for result in results),
        "read_bytes": sum(result.storage_bytes_read() for result in results),
        "written_rows": sum(result.rows_written() for result in results),
        "written_bytes": sum(result.bytes_written() for result in results),
        "result_rows": sum(result.rows_read() for result in results),
        "result_bytes": sum(result.size() for result in results),
        "elapsed_ns": int(sum(result.elapsed() for result in results) * 1e9),
    }
