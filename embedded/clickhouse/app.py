"""The ASGI application: who asks, what is asked, and every failure in ClickHouse's shape."""

import asyncio
import codecs
import contextlib
import hashlib
import hmac
import logging
import uuid
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from embedded.clickhouse.engine import Engine, Role
from embedded.clickhouse.exchange import (Exchange, Receive, Send, plain_reply)
from embedded.clickhouse.form_data import MEDIA, with_form
from embedded.clickhouse.lexer import Unclear
from embedded.clickhouse.protocol import (MAX_HEAD_CHARACTERS, MAX_TEXT_BYTES, ClientGone, Refused, Request, credentials, request_of)
from embedded.clickhouse.statement_run import Query
from embedded.clickhouse.sessions import Sessions
from embedded.clickhouse.statement_scan import (Incomplete, InsertHead, Statement, closed_parameter, insert_head, scan, values_at)
from embedded.clickhouse.users import User

log = logging.getLogger("onefold.clickhouse")
_SCAN_IN_PLACE = 1 << 14
_NOBODY = hashlib.sha256(b"").hexdigest()


class Application:
    """Serves one engine to the users of the users file."""

    def __init__(self, engine: Engine, users: Mapping[str, User]) -> None:
        self._engine, self._users = engine, users
        self._sessions = Sessions(engine)
        self._sweeper: asyncio.Task[None] | None = None

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """ASGI."""
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
            await self._guarded(scope, receive, send)

    async def _ping(self, send: Send) -> None:
        if await asyncio.wrap_future(self._engine.ping()):
            await plain_reply(send, 200, b"Ok.\n")
        else:
            await plain_reply(send, 503, b"The engine does not answer\n")

    async def _guarded(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        nameless = Request(scope["method"], scope["path"], {}, (), {}, str(uuid.uuid4()))
        exchange = self._exchange(nameless, receive, send)
        try:
            exchange = self._exchange(request_of(scope, nameless.query_id), receive, send)
            await self._run(exchange)
        except ClientGone:
            return
        except (Refused, RuntimeError) as error:  # the engine's own errors are RuntimeErrors
            await exchange.fail(str(error))
        except Unclear as error:
            await exchange.fail(f"Code: 62. DB::Exception: Syntax error: {error} (SYNTAX_ERROR)")
        except Exception:  # the outermost edge: whatever it is, the client gets ClickHouse's shape and the log gets the place
            log.exception("unexpected error in query %s", exchange.request.query_id)
            await exchange.fail("Code: 1002. DB::Exception: unexpected error: see clickhouse.log (UNKNOWN_EXCEPTION)")

    def _exchange(self, request: Request, receive: Receive, send: Send) -> Exchange:
        return Exchange(request, receive, send, version=self._engine.version, timezone=self._engine.timezone)

    def _role(self, name: str, password: str) -> Role:
        """The role of a user, compared in constant time whether the user exists or not."""
        user = self._users.get(name)
        given = hashlib.sha256(password.encode("utf-8", "replace")).hexdigest()
        same = hmac.compare_digest(user.password_sha256 if user else _NOBODY, given)
        if user is None or not same:
            text = f"{name[:64]!a}: Authentication failed: password is incorrect, or there is no user with such name."
            raise Refused(516, text, "AUTHENTICATION_FAILED")
        return user.role

    async def _run(self, exchange: Exchange) -> None:
        request = exchange.request
        if request.method not in {"GET", "HEAD", "POST", "PUT"}:
            raise Refused(48, f"Method {request.method[:16]} is not supported: use GET or POST", "NOT_IMPLEMENTED")
        name, password = credentials(request)
        role = self._role(name, password)
        rest = exchange.body()
        if request.headers.get("content-type", "").startswith(MEDIA):
            request = exchange.request = with_form(request, await _whole(rest))
        try:
            sql, head, data = await _statement(request, rest)
            statement = await _checked(sql, head, request.bound)
            async with self._sessions.taken(request, name, role) as session:
                query = Query(self._engine, exchange, role, session)
                if request.method in {"GET", "HEAD"}:
                    query.read_only(statement)
                async with contextlib.AsyncExitStack() as stack:
                    stack.push_async_callback(query.close)
                    if head is None:
                        await query.select(sql, statement)
                    else:
                        await query.insert(head, data, rest)
        finally:
            await rest.aclose()


async def _whole(rest: AsyncGenerator[bytes, None]) -> bytes:
    """A body that is read before anything is done."""
    body = bytearray()
    async for piece in rest:
        body += piece
        if len(body) > MAX_TEXT_BYTES:
            raise Refused(229, f"The form is too large: at most {MAX_TEXT_BYTES} bytes", "QUERY_IS_TOO_LARGE")
    return bytes(body)


async def _statement(request: Request, rest: AsyncGenerator[bytes, None]) -> tuple[str, InsertHead | None, bytes]:
    """The statement's text, and for an INSERT with data its head and the data that came along; the rest stays unread."""
    text = request.values.get("query", "")
    if text:
        head = insert_head(text, over=True)
        if isinstance(head, InsertHead):
            return head.statement, head, text[head.data_at :].encode()
        text += "\n"
    decode = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode
    prefix, size = text, 0
    async for piece in rest:
        size += len(piece)
        if size > MAX_TEXT_BYTES:
            raise Refused(229, f"Query is too large: at most {MAX_TEXT_BYTES} bytes; send data with a FORMAT", "QUERY_IS_TOO_LARGE")
        text += decode(piece)
        if not prefix and (found := _early_head(text)) is not None:
            kept = text[found.data_at :] + decode(b"", final=True)
            return found.statement, found, kept.encode("utf-8", "surrogateescape")
    text += decode(b"", final=True)
    if not text.strip():
        raise Refused(62, "Syntax error: Empty query", "SYNTAX_ERROR")
    head = insert_head(text, over=True)
    if isinstance(head, InsertHead):
        return head.statement, head, text[head.data_at :].encode("utf-8", "surrogateescape")
    return text, None, b""


def _early_head(text: str) -> InsertHead | None:
    """The head of an INSERT whose data is still coming."""
    if len(text) > MAX_HEAD_CHARACTERS:
        return None
    try:
        head = insert_head(text, over=False)
    except Unclear:  # cut in the middle of a token: more is to come
        return None
    return None if isinstance(head, Incomplete) else head


async def _checked(sql: str, head: InsertHead | None, bound: Mapping[str, str]) -> Statement:
    """The statement as scanned.

    Raises:
        Refused: when it holds several statements or something closed.
    """
    if not sql.isprintable():
        try:
            sql.encode()
        except UnicodeEncodeError as error:
            raise Refused(62, "Syntax error: the query is not UTF-8", "SYNTAX_ERROR") from error
    statement = await asyncio.to_thread(_scan, sql) if len(sql) > _SCAN_IN_PLACE else _scan(sql)
    closed = statement.closed or closed_parameter(statement, bound)
    if closed:
        raise Refused(497, f"{closed[:64]!a} is closed in the embedded engine", "ACCESS_DENIED")
    if statement.count > 1:
        raise Refused(62, "Syntax error: Multi-statements are not allowed", "SYNTAX_ERROR")
    if head is not None and statement.first != "insert":
        raise Refused(62, "Syntax error: data without INSERT", "SYNTAX_ERROR")
    return statement


def _scan(sql: str) -> Statement:
    values = values_at(sql)
    return scan(sql if values is None else sql[:values])
