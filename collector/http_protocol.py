"""HTTP/1.1 as uvicorn speaks it, with bounds that it lacks: headers of a size and in a time, errors as JSON."""

import asyncio
from asyncio.events import TimerHandle
from typing import Any, ClassVar, Final, cast

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from collector.problems import Answer, Problem

HEADERS_WITHIN_S: Final = 30.0
_FRAMING: Final = 8
"""How many times its size a body may take on the wire: a chunk of one byte is six."""


class Bounded(HttpToolsProtocol):
    """One connection. Whoever goes beyond a bound is answered, and the connection closed."""

    most_header_bytes: ClassVar[int]
    most_message_bytes: ClassVar[int]
    headers_within_s: ClassVar[float] = HEADERS_WITHIN_S

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._received, self._heads = 0, True
        self._deadline: TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn narrows it
        super().connection_made(transport)
        self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._headers_came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._received += len(data)
        if self._heads and self._deadline is None:
            self._await_headers()
        super().data_received(data)
        most = self.most_header_bytes if self._heads else self.most_message_bytes
        if self._received > most and not self.transport.is_closing():
            self._end(Problem.HEADERS.value if self._heads else Problem.TOO_LARGE.value)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._heads = True

    def on_headers_complete(self) -> None:
        self._heads = False
        self._headers_came()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._received, self._heads = 0, True

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's text; ours says as much
        self._end(Answer(400, "invalid_http", "This is no HTTP request."))

    def _await_headers(self) -> None:
        self._deadline = self.loop.call_later(self.headers_within_s, self._too_slow)

    def _headers_came(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()

    def _end(self, answer: Answer) -> None:
        """Answer unless an answer is under way already, then close."""
        cycle = cast("RequestResponseCycle | None", self.cycle)
        if cycle is None or cycle.response_complete or not (self._heads or cycle.response_started):
            content = orjson.dumps({"success": False, "code": answer.code, "message": answer.message, "results": []})
            head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(content)
            self.transport.write(STATUS_LINE[answer.status] + head + content)
        self.transport.close()


def protocol(max_header_bytes: int, max_body_bytes: int) -> type[Bounded]:
    """The class of connections with these bounds."""
    bounds = {"most_header_bytes": max_header_bytes, "most_message_bytes": max_header_bytes + max_body_bytes * _FRAMING}
    return type("BoundedHttp", (Bounded,), bounds)
