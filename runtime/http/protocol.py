"""HTTP/1.1 of uvicorn with the bounds that it lacks: on sizes, on times and on connections.

A connection is in one of four phases, each with its deadline:

    HEAD     from the first byte of a request (or from the opening of the connection) until its headers are whole
    BODY     until the body is whole, also when the application has answered before: what is left of the body is read and dropped
    ANSWER   while the application works: it has time limits of its own, and the client has one to read what it writes
    IDLE     until the next request
"""

import asyncio
from asyncio.events import TimerHandle
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, ClassVar, Final, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from runtime.http.connections import CONNECTION_KEY, ConnectionTable, client_network
from runtime.http.limits import ANSWER_HEADERS, HttpLimits, Refusal, RenderRefusal

MIN_READ_BYTES: Final = 16 * 1024
"""How much of a waiting answer a client reads at least between two looks at it, `write_timeout_s` apart."""
CountClosed = Callable[[str], None]
"""Counts a connection that a limit has closed, by the reason: `no_room`, `headers`, `body` or `answer`."""


class PipelinedRequest(Exception):
    """A client has sent a request before it had the answer to the last one, on a port that takes one at a time."""


class Phase(Enum):
    """What a connection waits for."""

    HEAD = auto()
    BODY = auto()
    ANSWER = auto()
    IDLE = auto()


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection. A client that exceeds a bound is answered, where an answer is possible, and the connection is closed."""

    limits: ClassVar[HttpLimits]
    table: ClassVar[ConnectionTable]
    render_refusal: ClassVar[RenderRefusal]
    count_closed: ClassVar[CountClosed]
    takes_pipelined: ClassVar[bool]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.timeout_keep_alive = self.limits.idle_timeout_s  # type: ignore[assignment]  # uvicorn's configuration has whole seconds
        self._phase = Phase.HEAD
        self._received_bytes = 0
        self._body_bytes = 0
        self._body_since_s = 0.0
        self._deadline: TimerHandle | None = None
        self._write_deadline: TimerHandle | None = None
        self._unread_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn narrows it
        super().connection_made(transport)
        self._set_deadline(self.limits.headers_timeout_s, self._close_slow_head)
        if not self.table.admit(self, client_network(self.client[0]) if self.client else ""):
            type(self).count_closed("no_room")
            self._refuse(Refusal.BUSY)

    def connection_lost(self, exc: Exception | None) -> None:
        self.table.remove(self)
        self._cancel_deadline()
        self._cancel_write_deadline()
        super().connection_lost(exc)

    def prove(self) -> None:
        """Secure the place of this connection until its request is answered."""
        self.table.prove(self)

    def give_way(self) -> None:
        """Close the connection for another one. A request that has begun is answered 503; an idle client just connects again."""
        type(self).count_closed("no_room")
        if self._phase is Phase.IDLE or not self._received_bytes:
            self._close()
        else:
            self._refuse(Refusal.BUSY)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._received_bytes += len(data)
        if self._phase is Phase.IDLE:
            self._phase = Phase.HEAD
            self._cancel_deadline()
        super().data_received(data)
        if self.transport.is_closing():
            return
        limit = self.limits.max_header_bytes if self._phase is Phase.HEAD else self.limits.max_message_bytes
        if self._received_bytes > limit:
            self._refuse(Refusal.HEADERS if self._phase is Phase.HEAD else Refusal.TOO_LARGE)
        elif self._deadline is None:  # a request that came whole with this data needs none, which most do
            if self._phase is Phase.HEAD:
                self._set_deadline(self.limits.headers_timeout_s, self._close_slow_head)
            elif self._phase is Phase.BODY:
                self._set_deadline(self.limits.body_timeout_s, self._close_slow_body)

    def on_message_begin(self) -> None:
        cycle = cast("RequestResponseCycle | None", self.cycle)
        if not self.takes_pipelined and cycle is not None and not cycle.response_complete:
            # uvicorn reads no further while two requests wait, and so would not see that their client leaves
            raise PipelinedRequest
        super().on_message_begin()
        self.scope["state"][CONNECTION_KEY] = self
        self._phase = Phase.HEAD

    def on_headers_complete(self) -> None:
        self._cancel_deadline()
        self._phase = Phase.BODY
        self._body_bytes, self._body_since_s = 0, self.loop.time()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._cancel_deadline()
        self._received_bytes = 0
        self._phase = Phase.ANSWER
        if self.cycle.response_complete:  # uvicorn's own timer ran before the rest of the body came, and ended with it
            self._phase = Phase.IDLE
            self._set_deadline(self.limits.idle_timeout_s, self._close)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self.table.unprove(self)
        if self.transport.is_closing():  # it closes when the client has read everything, which the client may never do
            self._set_write_deadline()
        elif self._phase is Phase.ANSWER and self.timeout_keep_alive_task is not None:
            self._phase = Phase.IDLE

    def timeout_keep_alive_handler(self) -> None:
        self._close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._set_write_deadline()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._cancel_write_deadline()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's text adds nothing to ours
        self._refuse(Refusal.INVALID)

    def _close_slow_head(self) -> None:
        if self.flow.read_paused:  # the client waits for us, not we for it
            self._set_deadline(self.limits.headers_timeout_s, self._close_slow_head)
            return
        type(self).count_closed("headers")
        self._close()

    def _close_slow_body(self) -> None:
        """Close the connection, unless the bytes that came earn the body more time, or the application has yet to read them."""
        if self.flow.read_paused:
            self._body_since_s = self.loop.time()
        allowed_s = self.limits.body_timeout_s + self._body_bytes / self.limits.min_body_bytes_per_s
        remaining_s = self._body_since_s + allowed_s - self.loop.time()
        if remaining_s > 0:
            self._set_deadline(remaining_s, self._close_slow_body)
            return
        type(self).count_closed("body")
        self._refuse(Refusal.SLOW)

    def _close_unread(self) -> None:
        """Close the connection, unless its client has read on meanwhile."""
        self._write_deadline = None
        if self._unread_bytes - self.transport.get_write_buffer_size() >= MIN_READ_BYTES:
            self._set_write_deadline()
            return
        type(self).count_closed("answer")
        self.transport.abort()

    def _refuse(self, refusal: Refusal) -> None:
        """Answer where nothing else is being answered, and close the connection."""
        cycle = cast("RequestResponseCycle | None", self.cycle)
        if self._may_answer(cycle):
            content = type(self).render_refusal(refusal)
            common = b"".join(f"{name}: {value}\r\n".encode() for name, value in ANSWER_HEADERS)
            head = common + b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n" % len(content)
            retry_after = b"retry-after: 1\r\n" if refusal is Refusal.BUSY else b""
            self.transport.write(STATUS_LINE[refusal.value.status] + head + retry_after + b"\r\n" + content)
        if cycle is not None:
            cycle.disconnected = True  # the application's own answer would follow this one otherwise
            cycle.message_event.set()
        self._close()

    def _may_answer(self, cycle: RequestResponseCycle | None) -> bool:
        """Return whether an answer written now would be taken for that of the request which is being read."""
        if cycle is None:
            return True
        if self._phase is Phase.HEAD:
            return cycle.response_complete
        return self._phase is Phase.BODY and not cycle.response_started and not self.pipeline

    def _close(self) -> None:
        self.transport.close()
        self._set_write_deadline()

    def _set_deadline(self, delay_s: float, on_expiry: Callable[[], None]) -> None:
        self._cancel_deadline()
        self._deadline = self.loop.call_later(delay_s, on_expiry)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _set_write_deadline(self) -> None:
        if self._write_deadline is None:
            self._unread_bytes = self.transport.get_write_buffer_size()
            self._write_deadline = self.loop.call_later(self.limits.write_timeout_s, self._close_unread)

    def _cancel_write_deadline(self) -> None:
        if self._write_deadline is not None:
            self._write_deadline.cancel()
            self._write_deadline = None


def bounded_protocol(
    limits: HttpLimits, render_refusal: RenderRefusal, count_closed: CountClosed, *, takes_pipelined: bool = True
) -> type[BoundedHttpProtocol]:
    """Return the class of a port's connections. uvicorn takes a class, so what the connections share are attributes of it.

    A port that does not take pipelined requests closes a connection on which a second request comes before the answer to the first.
    """
    table = ConnectionTable(limits.max_connections, limits.max_unproven_per_peer)
    shared = {
        "limits": limits,
        "table": table,
        "render_refusal": staticmethod(render_refusal),
        "count_closed": staticmethod(count_closed),
        "takes_pipelined": takes_pipelined,
    }
    return type("BoundedHttp", (BoundedHttpProtocol,), shared)
