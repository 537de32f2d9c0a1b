"""The ASGI application: it authenticates a request, routes it, and answers every failure in ClickHouse's format."""

import asyncio
import codecs
import contextlib
import hashlib
import hmac
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any

from embedded.clickhouse.engine import Engine
from embedded.clickhouse.exchange import Exchange, Receive, Send, plain_reply
from embedded.clickhouse.form_data import FORM_MEDIA_TYPE, with_form
from embedded.clickhouse.lexer import AmbiguousSyntax
from embedded.clickhouse.limits import UserLimits
from embedded.clickhouse.protocol import (
    MAX_HEAD_CHARACTERS,
    MAX_TEXT_BYTES,
    ClientDisconnected,
    QueryRefused,
    QueryRequest,
    credentials,
    database_of,
    parse_request,
    settings_of,
)
from embedded.clickhouse.query_ids import with_client_ids
from embedded.clickhouse.sessions import Sessions
from embedded.clickhouse.setting_clauses import SettingChange
from embedded.clickhouse.slots import Caller, UserSlots
from embedded.clickhouse.statement_run import StatementRun
from embedded.clickhouse.statement_scan import (
    READING_WORDS,
    Incomplete,
    InsertHead,
    Statement,
    find_values,
    forbidden_parameter,
    insert_head,
    scan,
)
from embedded.clickhouse.users import EngineUser
from runtime.http.connections import prove_connection
from runtime.logs import get_logger

log = get_logger(__name__)
_INLINE_SCAN_CHARACTERS = 1 << 14
_SAME_ID_WAIT_S = 0.5
_NO_DATABASE_OF_ANALYSTS = (
    "Cannot execute query in readonly mode: this user reads, and the embedded engine has no database in which analysts may write. "
    "Tools that create tables, also temporary ones, or views (dbt, .sql() of ibis) need a ClickHouse server: see docs/analysts.md"
)
_UNKNOWN_USER_HASH = hashlib.sha256(b"").hexdigest()


class Application:
    """Serves one engine to the users of the users file."""

    def __init__(self, engine: Engine, users: Mapping[str, EngineUser], limits_by_user: Mapping[str, UserLimits]) -> None:
        self._engine, self._users = engine, users
        self._callers = {
            name: Caller(name, user.role, limits_by_user[name], UserSlots(name, limits_by_user[name]))
            for name, user in users.items()
        }
        self._sessions = Sessions(engine)
        self._running: dict[str, asyncio.Event] = {}
        self._sweeper: asyncio.Task[None] | None = None

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one ASGI request."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self._sweeper = asyncio.create_task(self._sessions.sweep())
            elif self._sweeper is not None:
                self._sweeper.cancel()
                await self._sessions.close()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return

    async def _http(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        if path == "/ping":
            await self._ping(send)
        elif (
            path == "/"
            and method in {"GET", "HEAD"}
            and not scope["query_string"]
            and b"authorization" not in dict(scope["headers"])
        ):
            await plain_reply(send, 200, b"Ok.\n")
        elif path != "/":
            await plain_reply(send, 404, b"There is no handle for this path. Queries go to /, readiness is /ping\n")
        else:
            await self._answer_query(scope, receive, send)

    async def _ping(self, send: Send) -> None:
        if await asyncio.wrap_future(self._engine.ping()):
            await plain_reply(send, 200, b"Ok.\n")
        else:
            await plain_reply(send, 503, b"The engine does not answer\n")

    async def _answer_query(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        placeholder = QueryRequest(scope["method"], scope["path"], {}, (), {}, str(uuid.uuid4()))
        exchange = self._exchange(placeholder, receive, send)
        try:
            exchange = self._exchange(parse_request(scope, placeholder.query_id), receive, send)
            await self._run(exchange, scope)
        except ClientDisconnected:
            return
        except (QueryRefused, RuntimeError) as error:  # the engine's own errors are RuntimeErrors
            await exchange.send_error(str(error))
        except AmbiguousSyntax as error:
            await exchange.send_error(f"Code: 62. DB::Exception: Syntax error: {error} (SYNTAX_ERROR)")
        except Exception:  # the outermost edge: whatever it is, the client gets ClickHouse's shape and the log gets the place
            log.exception("unexpected_error", query_id=exchange.request.query_id)
            await exchange.send_error("Code: 1002. DB::Exception: unexpected error: see clickhouse.log (UNKNOWN_EXCEPTION)")

    def _exchange(self, request: QueryRequest, receive: Receive, send: Send) -> Exchange:
        return Exchange(request, receive, send, self._engine)

    def _authenticate(self, name: str, password: str) -> Caller:
        """Return who asks. The comparison takes the same time whether the user exists or not."""
        user = self._users.get(name)
        password_hash = hashlib.sha256(password.encode("utf-8", "replace")).hexdigest()
        is_correct = hmac.compare_digest(user.password_sha256 if user else _UNKNOWN_USER_HASH, password_hash)
        if user is None or not is_correct:
            text = f"{name[:64]!a}: Authentication failed: password is incorrect, or there is no user with such name."
            raise QueryRefused(516, text, "AUTHENTICATION_FAILED")
        return self._callers[name]

    async def _run(self, exchange: Exchange, scope: Mapping[str, Any]) -> None:
        request = exchange.request
        if request.method not in {"GET", "HEAD", "POST", "PUT"}:
            raise QueryRefused(48, f"Method {request.method[:16]} is not supported: use GET or POST", "NOT_IMPLEMENTED")
        caller = self._authenticate(*credentials(request))
        prove_connection(scope)
        rest = exchange.body()
        if request.headers.get("content-type", "").startswith(FORM_MEDIA_TYPE):
            request = exchange.request = with_form(request, await _read_whole(rest))
        try:
            sql, head, data = await _read_statement(request, rest)
            statement = await _checked_statement(sql, head, request.bound_parameters)
            _check_rights(caller, request, statement)
            if head is None:
                sql = await _with_client_ids(sql, statement, database_of(request))
            async with contextlib.AsyncExitStack() as stack:
                disconnected = stack.enter_context(exchange.watch_disconnect()) if head is None else None
                slot = caller.slots.take(is_kill=statement.first_word == "kill", disconnected=disconnected)
                await stack.enter_async_context(slot)
                session = await stack.enter_async_context(self._sessions.acquire(request, caller.name, caller.limits.sessions))
                query = StatementRun(self._engine, exchange, caller, session)
                if request.method in {"GET", "HEAD"}:
                    query.read_only(statement)
                await stack.enter_async_context(self._running_once(request.query_id, caller.carrier(request.query_id)))
                stack.push_async_callback(query.close)
                if disconnected is not None:
                    await query.select(sql, statement, disconnected)
                elif head is not None:
                    await query.insert(head, data, rest)
        except RuntimeError as error:
            if caller.role == "analyst" and "Cannot execute query in readonly mode" in str(error):
                raise QueryRefused(164, _NO_DATABASE_OF_ANALYSTS, "READONLY") from error
            raise
        finally:
            await rest.aclose()

    @contextlib.asynccontextmanager
    async def _running_once(self, query_id: str, carrier: str) -> AsyncIterator[None]:
        """Note that a query runs, so that its id names one query of its user alone.

        Raises:
            QueryRefused: 216 when another query of this id runs.
        """
        if (other := self._running.get(carrier)) is not None:
            # a client may have read an answer before the request that gave it has ended here
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(other.wait(), _SAME_ID_WAIT_S)
        if carrier in self._running:
            raise QueryRefused(216, f"Query with id = {query_id} is already running.", "QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING")
        ended = self._running[carrier] = asyncio.Event()
        try:
            yield
        finally:
            del self._running[carrier]
            ended.set()


async def _read_whole(rest: AsyncGenerator[bytes, None]) -> bytes:
    """Read a whole body of bounded size."""
    body = bytearray()
    async for piece in rest:
        body += piece
        if len(body) > MAX_TEXT_BYTES:
            raise QueryRefused(229, f"The form is too large: at most {MAX_TEXT_BYTES} bytes", "QUERY_IS_TOO_LARGE")
    return bytes(body)


async def _read_statement(request: QueryRequest, rest: AsyncGenerator[bytes, None]) -> tuple[str, InsertHead | None, bytes]:
    """Return the statement's text, and for an INSERT its head and the data read so far; the rest of the body stays unread."""
    text = request.values.get("query", "")
    if text:
        head = insert_head(text, is_complete=True)
        if isinstance(head, InsertHead):
            return head.statement, head, text[head.data_at :].encode()
        text += "\n"
    decode = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode
    prefix, size, looked_at = text, 0, 0
    async for piece in rest:
        size += len(piece)
        if size > MAX_TEXT_BYTES:
            raise QueryRefused(
                229, f"Query is too large: at most {MAX_TEXT_BYTES} bytes; send data with a FORMAT", "QUERY_IS_TOO_LARGE"
            )
        text += decode(piece)
        if prefix or len(text) < 2 * looked_at:  # looking at each of many small pieces would take the square of their number
            continue
        looked_at = len(text)
        if (early_head := _early_head(text)) is not None:
            data = text[early_head.data_at :] + decode(b"", final=True)
            return early_head.statement, early_head, data.encode("utf-8", "surrogateescape")
    text += decode(b"", final=True)
    if not text.strip():
        raise QueryRefused(62, "Syntax error: Empty query", "SYNTAX_ERROR")
    head = insert_head(text, is_complete=True)
    if isinstance(head, InsertHead):
        return head.statement, head, text[head.data_at :].encode("utf-8", "surrogateescape")
    return text, None, b""


def _early_head(text: str) -> InsertHead | None:
    """Return the head of an INSERT whose data is still arriving, or None while it cannot be told yet."""
    if len(text) > MAX_HEAD_CHARACTERS:
        return None
    try:
        head = insert_head(text, is_complete=False)
    except AmbiguousSyntax:  # cut in the middle of a token: more is to come
        return None
    return None if isinstance(head, Incomplete) else head


async def _checked_statement(sql: str, head: InsertHead | None, bound: Mapping[str, str]) -> Statement:
    """Scan a statement before it runs.

    Raises:
        QueryRefused: when it holds several statements or something closed.
    """
    if not sql.isprintable():
        try:
            sql.encode()
        except UnicodeEncodeError as error:
            raise QueryRefused(62, "Syntax error: the query is not UTF-8", "SYNTAX_ERROR") from error
    statement = await asyncio.to_thread(_scan, sql) if len(sql) > _INLINE_SCAN_CHARACTERS else _scan(sql)
    forbidden = statement.forbidden or forbidden_parameter(statement, bound)
    if forbidden:
        raise QueryRefused(497, f"{forbidden[:64]!a} is closed in the embedded engine", "ACCESS_DENIED")
    if statement.statement_count > 1:
        raise QueryRefused(62, "Syntax error: Multi-statements are not allowed", "SYNTAX_ERROR")
    if head is not None and statement.first_word != "insert":
        raise QueryRefused(62, "Syntax error: data without INSERT", "SYNTAX_ERROR")
    return statement


def _check_rights(caller: Caller, request: QueryRequest, statement: Statement) -> None:
    """Let a reader do what readers do, before the engine sees the statement.

    Raises:
        QueryRefused: 164 for a statement that does not read, 452 for a setting beyond the limits of the user.
    """
    if caller.role == "analyst" and statement.first_word not in READING_WORDS | {"kill"}:
        raise QueryRefused(164, _NO_DATABASE_OF_ANALYSTS, "READONLY")
    caller.limits.check_settings(statement.settings)
    caller.limits.check_settings(SettingChange(name, value) for name, value in settings_of(request).items())


async def _with_client_ids(sql: str, statement: Statement, database: str | None) -> str:
    if statement.first_word == "insert" and find_values(sql) is not None:
        return sql
    if len(sql) > _INLINE_SCAN_CHARACTERS:
        return await asyncio.to_thread(with_client_ids, sql, database)
    return with_client_ids(sql, database)


def _scan(sql: str) -> Statement:
    values_start = find_values(sql)
    return scan(sql if values_start is None else sql[:values_start])
