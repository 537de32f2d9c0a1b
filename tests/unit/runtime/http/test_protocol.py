"""When a client counts as reading its answer. What needs real sockets is tested in tests/integration/runtime/http."""

import asyncio
from typing import Any, cast

import uvicorn
from uvicorn.server import ServerState

from runtime.http.limits import HttpLimits, render_error
from runtime.http.protocol import MIN_READ_BYTES, BoundedHttpProtocol, bounded_protocol

LIMITS = HttpLimits(
    max_header_bytes=1_000,
    max_body_bytes=1_000,
    headers_timeout_s=60,
    body_timeout_s=60,
    idle_timeout_s=60,
    write_timeout_s=60,
    max_connections=10,
    max_unproven_per_peer=10,
)


class WaitingTransport:
    """A transport on which `unread` bytes of an answer wait for the client."""

    def __init__(self, unread: int) -> None:
        self.unread = unread
        self.aborted = False

    def get_extra_info(self, _name: str) -> None:
        return None

    def get_write_buffer_size(self) -> int:
        return self.unread

    def abort(self) -> None:
        self.aborted = True


def connection_on(transport: WaitingTransport, closed: list[str]) -> BoundedHttpProtocol:
    async def unused(_scope: Any, _receive: Any, _send: Any) -> None:
        return

    kind = bounded_protocol(LIMITS, render_error, closed.append)
    connection = kind(config=uvicorn.Config(unused), server_state=ServerState(), app_state={}, _loop=asyncio.get_running_loop())
    connection.connection_made(cast("asyncio.Transport", transport))
    return connection


async def test_a_client_that_reads_on_slowly_keeps_its_connection() -> None:
    transport, closed = WaitingTransport(10 * MIN_READ_BYTES), list[str]()
    connection = connection_on(transport, closed)
    connection.pause_writing()
    for _ in range(5):
        transport.unread -= MIN_READ_BYTES
        connection._close_unread()
    assert not transport.aborted
    transport.unread -= MIN_READ_BYTES - 1
    connection._close_unread()
    assert transport.aborted
    assert closed == ["answer"]
    connection.connection_lost(OSError())
