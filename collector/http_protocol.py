"""HTTP/1.1 of uvicorn with bounds that it lacks, on the size and the time of headers, and with errors as JSON."""

import asyncio
from asyncio.events import TimerHandle
from typing import Any, ClassVar, Final, cast

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from collector.problems import Problem, ProblemAnswer

HEADERS_TIMEOUT_S: Final = 30.0
_MAX_FRAMING_FACTOR: Final = 8
"""How many bytes on the wire one byte of a body may take: a chunk of one byte takes six."""


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection. A client that exceeds a bound gets an answer, and the connection is closed."""

    max_header_bytes: ClassVar[int]
    max_message_bytes: ClassVar[int]
    headers_timeout_s: ClassVar[float] = HEADERS_TIMEOUT_S

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._received_bytes = 0
        self._reading_headers = True
        self._deadline: TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn narrows it
        super().connection_made(transport)
        self._start_headers_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_headers_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._received_bytes += len(data)
        if self._reading_headers and self._deadline is None:
            self._start_headers_deadline()
        super().data_received(data)
        limit = self.max_header_bytes if self._reading_headers else self.max_message_bytes
        if self._received_bytes > limit and not self.transport.is_closing():
            self._respond_and_close(Problem.HEADERS.value if self._reading_headers else Problem.TOO_LARGE.value)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._reading_headers = True

    def on_headers_complete(self) -> None:
        self._reading_headers = False
        self._cancel_headers_deadline()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._received_bytes = 0
        self._reading_headers = True

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's text adds nothing to ours
        self._respond_and_close(ProblemAnswer(400, "invalid_http", "This is not an HTTP request."))

    def _start_headers_deadline(self) -> None:
        self._deadline = self.loop.call_later(self.headers_timeout_s, self._close_slow_connection)

    def _cancel_headers_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _close_slow_connection(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()

    def _respond_and_close(self, answer: ProblemAnswer) -> None:
        """Answer, unless an answer has begun already, and close the connection."""
        cycle = cast("RequestResponseCycle | None", self.cycle)
        if cycle is None or cycle.response_complete or not (self._reading_headers or cycle.response_started):
            content = orjson.dumps({"success": False, "code": answer.code, "message": answer.message, "results": []})
            head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(content)
            self.transport.write(STATUS_LINE[answer.status] + head + content)
        self.transport.close()


def bounded_protocol(max_header_bytes: int, max_body_bytes: int) -> type[BoundedHttpProtocol]:
    """Return the class of connections with these bounds. uvicorn takes a class, so the bounds are attributes of it."""
    bounds = {"max_header_bytes": max_header_bytes, "max_message_bytes": max_header_bytes + max_body_bytes * _MAX_FRAMING_FACTOR}
    return type("BoundedHttp", (BoundedHttpProtocol,), bounds)
