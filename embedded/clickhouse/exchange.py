"""One request and its answer on the wire: the body as it comes, the answer as clients expect it."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import Any, Protocol

from embedded.clickhouse.compression import BlockDecoder, Encoder, blocks_encoder, decoder_for, encoder_for, plain_encoder
from embedded.clickhouse.protocol import (
    ClientDisconnected,
    QueryRequest,
    error_trailer,
    parse_error,
    status_of,
    summary_header,
)

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
HeaderPairs = list[tuple[str, str]]


async def plain_reply(send: Send, status: int, body: bytes, headers: Iterable[tuple[str, str]] = ()) -> None:
    """Send a short answer outside the query protocol."""
    await _send_head(send, status, [("content-type", "text/html; charset=UTF-8"), ("content-length", str(len(body))), *headers])
    await send({"type": "http.response.body", "body": body})


async def _send_head(send: Send, status: int, headers: HeaderPairs) -> None:
    raw = [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers]
    await send({"type": "http.response.start", "status": status, "headers": raw})


class EngineFacts(Protocol):
    """What an answer says of the engine. `content_types`: of the output formats, by their names in lower case."""

    @property
    def version(self) -> str: ...
    @property
    def timezone(self) -> str: ...
    @property
    def content_types(self) -> Mapping[str, str]: ...


class Exchange:
    """Reads the body of `request` once, answers once."""

    def __init__(self, request: QueryRequest, receive: Receive, send: Send, engine: EngineFacts) -> None:
        self.request = request
        self.format: str | None = None
        self._receive, self._send = receive, send
        self._engine = engine
        self._started = False
        self._encoder = plain_encoder()
        self._exception_tag = ""

    async def body(self) -> AsyncGenerator[bytes, None]:
        """Yield the decoded body, piece by piece.

        Raises:
            QueryRefused: when it is corrupt, cut short or in an unknown encoding.
            ClientDisconnected: when the client went away in the middle.
        """
        outer = decoder_for(self.request.headers.get("content-encoding", ""))
        inner = BlockDecoder() if self.request.flag("decompress") else None
        has_more = True
        while has_more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnected
            has_more = message.get("more_body", False)
            if data := message.get("body", b""):
                for piece in outer.feed(data):
                    if inner is None:
                        yield piece
                    else:
                        for unpacked in inner.feed(piece):
                            yield unpacked
        outer.finish()
        if inner is not None:
            inner.finish()

    @contextlib.contextmanager
    def watch_disconnect(self) -> "Iterator[asyncio.Future[None]]":
        """Give a future that is done when the client has left. Only valid once the whole body was read."""
        watch = asyncio.ensure_future(self._wait_for_disconnect())
        try:
            yield watch
        finally:
            watch.cancel()

    async def _wait_for_disconnect(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def reply(self, chunks: Iterable[bytes], counts: Mapping[str, int]) -> None:
        """Send a whole answer with its length."""
        encoding = self._choose_encoder()
        body = b"".join(encoding.feed(chunk) for chunk in chunks if chunk)
        if body:
            body += encoding.finish()
        else:
            encoding = plain_encoder()
        self._started = True
        await _send_head(self._send, 200, [*self._headers(counts, encoding), ("content-length", str(len(body)))])
        await self._send({"type": "http.response.body", "body": body})

    async def start(self, counts: Mapping[str, int]) -> None:
        """Send the head of a chunked answer."""
        self._started, self._encoder, self._exception_tag = True, self._choose_encoder(), uuid.uuid4().hex[:16]
        await _send_head(
            self._send, 200, [*self._headers(counts, self._encoder), ("x-clickhouse-exception-tag", self._exception_tag)]
        )

    async def chunk(self, data: bytes) -> None:
        """Send a piece of a chunked answer; waits while the client is slow to read."""
        if encoded := self._encoder.feed(data):
            await self._send({"type": "http.response.body", "body": encoded, "more_body": True})

    async def end(self) -> None:
        """End a chunked answer."""
        await self._send({"type": "http.response.body", "body": self._encoder.finish()})

    async def send_error(self, text: str) -> None:
        """Send an error in ClickHouse's format: as the answer, or behind the part of the answer that was sent already."""
        code, message = parse_error(text, self._engine.version)
        raw = message.encode("utf-8", "replace")
        if self._started:
            await self.chunk(error_trailer(raw, self._exception_tag))
            await self.end()
            return
        headers = self._common_headers("text/plain; charset=UTF-8")
        headers += [("x-clickhouse-exception-code", str(code)), ("content-length", str(len(raw)))]
        if code == 516:
            headers.append(("www-authenticate", 'Basic realm="ClickHouse server HTTP API"'))
        await _send_head(self._send, status_of(code), headers)
        await self._send({"type": "http.response.body", "body": raw})

    def _choose_encoder(self) -> Encoder:
        if self.request.flag("compress"):
            return blocks_encoder()
        if self.request.flag("enable_http_compression"):
            return encoder_for(self.request.headers.get("accept-encoding", ""))
        return plain_encoder()

    def _common_headers(self, media: str) -> HeaderPairs:
        return [
            ("content-type", media),
            ("x-clickhouse-server-display-name", "onefold"),
            ("x-clickhouse-query-id", self.request.query_id),
            ("x-clickhouse-timezone", self._engine.timezone),
        ]

    def _headers(self, counts: Mapping[str, int], encoding: Encoder) -> HeaderPairs:
        format_name = self.format or "TabSeparated"
        media = self._engine.content_types.get(format_name.lower(), "text/plain; charset=UTF-8")
        headers = self._common_headers(media)
        headers += [("x-clickhouse-format", format_name), ("x-clickhouse-summary", summary_header(counts))]
        if encoding.name:
            headers.append(("content-encoding", encoding.name))
        return headers
