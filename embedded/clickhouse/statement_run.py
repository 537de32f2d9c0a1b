"""Runs one statement of one request on one engine connection."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

from embedded.clickhouse.engine import (Connection, Engine, Insert, Result, Role, Stream, Written)
from embedded.clickhouse.exchange import Exchange
from embedded.clickhouse.protocol import (STREAMABLE, ClientGone, Refused, database_of, literal, settings_of)
from embedded.clickhouse.sessions import Session
from embedded.clickhouse.statement_scan import READING, InsertHead, Statement

_FIRST_BYTES = 1 << 20
_INSERT_BYTES = 4 << 20

T = TypeVar("T")


class Query:
    """One statement on the connection of its session, or on one of its own."""

    def __init__(self, engine: Engine, exchange: Exchange, role: Role, session: Session | None) -> None:
        self._engine, self._exchange, self._role, self._session = engine, exchange, role, session
        self._request = exchange.request
        self._settings = settings_of(self._request)
        self._database = database_of(self._request)
        self._connection: Connection | None = None

    async def close(self) -> None:
        """Give the connection back; a session keeps its own."""
        if self._connection is not None and self._session is None:
            await self._work(self._connection.close)

    async def _work(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._engine.pool(self._role), call)

    def _ready(self) -> Connection:
        """In the pool: the connection, with this request's database and settings."""
        session = self._session
        if session is None:
            self._connection = self._engine.open(self._role)
        else:
            session.connection = session.connection or self._engine.open(self._role)
            self._connection = session.connection
        before = [f"USE `{self._database}`"] if self._database else []
        if session is not None and session.dirty:
            before.append("SET " + ", ".join(f"{name} = DEFAULT" for name in session.dirty))
            session.dirty = ()
        before.append("SET " + ", ".join(f"{name} = {literal(value)}" for name, value in self._settings.items()))
        if session is not None:
            session.dirty = tuple(self._settings)
        self._connection.query(";".join(before), "Null")
        return self._connection

    def read_only(self, statement: Statement) -> None:
        """GET never writes. A setting does it, except in a session, where it could not be undone.

        Raises:
            Refused: 164 for a statement that writes, in a session.
        """
        if self._role == "analyst":
            return
        if self._session is None:
            self._settings.setdefault("readonly", "2")
        elif statement.first not in READING:
            raise Refused(164, f"Cannot execute {statement.first.upper()[:32]} in readonly mode: use POST", "READONLY")

    async def select(self, sql: str, statement: Statement) -> None:
        """Run a statement and send what it gives."""
        exchange = self._exchange
        fallback = self._request.values.get("default_format") or self._request.headers.get("x-clickhouse-format")
        exchange.format = statement.format or fallback or "TabSeparated"
        run = asyncio.ensure_future(self._work(lambda: self._begin(sql, statement, exchange.format or "")))
        gone = asyncio.ensure_future(exchange.gone())
        try:
            await asyncio.wait({run, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not run.done():
                await asyncio.wrap_future(self._engine.kill(self._settings["log_comment"]))
                await asyncio.wait({run})
            if gone.done():
                await self._abandon(run)
                raise ClientGone
            stream, got, over = run.result()
            await self._answer(stream, got, over=over, gone=gone)
        finally:
            gone.cancel()
            if not run.done():
                self._engine.kill(self._settings["log_comment"])
                await asyncio.wait({run})

    async def _abandon(self, run: "asyncio.Future[tuple[Stream | None, list[Result], bool]]") -> None:
        if run.exception() is None and (stream := run.result()[0]) is not None:
            await self._work(stream.cancel)

    def _begin(self, sql: str, statement: Statement, format_: str) -> tuple[Stream | None, list[Result], bool]:
        """In the pool, in one go: settings, query, first megabyte."""
        connection, bound = self._ready(), self._request.bound
        streams = format_ in STREAMABLE and statement.first in {"select", "with"} and not self._request.flag("wait_end_of_query")
        if not streams:
            return None, [connection.query(sql, format_, params=bound)], True
        stream = connection.send_query(sql, format_, params=bound)
        return (stream, *_take(stream))

    async def _answer(self, stream: Stream | None, got: list[Result], *, over: bool, gone: "asyncio.Future[None]") -> None:
        counts = _counts(got)
        if stream is None or over:
            await self._exchange.reply([result.bytes() for result in got], counts)
            return
        await self._exchange.start(counts)
        while not gone.done():
            following = None if over else asyncio.ensure_future(self._work(lambda: _take(stream)))
            try:
                for result in got:
                    await self._exchange.chunk(result.bytes())
            finally:
                if following is not None:
                    await asyncio.wait({following})
            if following is None:
                await self._exchange.end()
                return
            got, over = following.result()
        await self._work(stream.cancel)
        raise ClientGone

    async def insert(self, head: InsertHead, data: bytes, rest: AsyncIterator[bytes]) -> None:
        """Push the data of an INSERT into the engine as it comes; nothing is acknowledged before all of it is stored."""
        self._exchange.format = head.format
        running: list[Insert] = []
        buffer = bytearray(data)
        started = time.perf_counter_ns()

        def push(piece: bytes) -> None:
            if not running:
                connection = self._ready()
                for name, value in self._request.bound.items():
                    connection.query(f"SET {_parameter(name)} = {literal(value)}", "Null")
                running.append(connection.send_insert(head.statement, head.format))
            if piece:
                running[0].append(piece)

        def finish(piece: bytes) -> Written:
            push(piece)
            return running[0].finish()

        try:
            async for piece in rest:
                buffer += piece
                if len(buffer) >= _INSERT_BYTES:
                    full = bytes(buffer)
                    buffer.clear()
                    await self._work(lambda full=full: push(full))  # type: ignore[misc]  # a bound default types as no Callable[[], T]
            written = await self._work(lambda: finish(bytes(buffer)))
        except BaseException:
            if running:
                with contextlib.suppress(RuntimeError):  # the insert has failed already: its own error is the one to tell
                    await self._work(running[0].cancel)
            raise
        counts = {"written_rows": written.rows_written, "written_bytes": written.bytes_written, "result_rows": written.rows_written}
        await self._exchange.reply([], counts | {"elapsed_ns": time.perf_counter_ns() - started})


def _parameter(name: str) -> str:
    if not name.isidentifier() or not name.isascii():
        raise Refused(36, "param_<name>: the name must be an identifier", "BAD_ARGUMENTS")
    return f"param_{name}"


def _take(stream: Stream) -> tuple[list[Result], bool]:
    """Chunks worth about a megabyte, and whether the stream is over."""
    got: list[Result] = []
    size = 0
    while size < _FIRST_BYTES:
        chunk = stream.fetch()
        if chunk is None:
            return got, True
        got.append(chunk)
        size += chunk.size()
    return got, False


def _counts(results: list[Result]) -> dict[str, int]:
    return {
        "read_rows": sum(result.storage_rows_read() for result in results),
        "read_bytes": sum(result.storage_bytes_read() for result in results),
        "written_rows": sum(result.rows_written() for result in results),
        "written_bytes": sum(result.bytes_written() for result in results),
        "result_rows": sum(result.rows_read() for result in results),
        "result_bytes": sum(result.size() for result in results),
        "elapsed_ns": int(sum(result.elapsed() for result in results) * 1e9),
    }
