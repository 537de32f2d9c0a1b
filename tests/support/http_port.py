"""An ASGI application on a real port within limits, and clients that do what no good client does."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from starlette.types import ASGIApp

from runtime.http.limits import HttpLimits, RenderRefusal, render_error
from runtime.http.server import allow_connections, make_server, open_listener
from tests.support.polling import eventually_async

WITHIN_S: Final = 30
PATIENT: Final = HttpLimits(
    max_header_bytes=8_000,
    max_body_bytes=1_000_000,
    headers_timeout_s=WITHIN_S,
    body_timeout_s=WITHIN_S,
    idle_timeout_s=WITHIN_S,
    write_timeout_s=WITHIN_S,
    max_connections=1_000,
    max_unproven_per_peer=1_000,
)
"""Limits that no test reaches; each test lowers the one that it is about."""


@dataclass
class Port:
    """A served port, and the connections that limits have closed, by reason."""

    number: int
    closed: Counter[str] = field(default_factory=Counter)

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection."""
        return await asyncio.open_connection("127.0.0.1", self.number)

    async def flood(self, count: int, sent: bytes) -> list[asyncio.StreamWriter]:
        """Open `count` connections that send these bytes and nothing more, and return them, to be closed."""
        allow_connections(2 * count)  # both ends are in this process
        writers = [(await self.open())[1] for _ in range(count)]
        for writer in writers:
            writer.write(sent)
        return writers

    async def trickle(self, head: bytes, piece: bytes) -> bytes:
        """Send `head`, then one `piece` after the other until the port closes the connection, and return what it has sent."""
        reader, writer = await self.open()
        writer.write(head)
        answer = asyncio.ensure_future(read_all(reader))

        def is_closed_after_one_more_piece() -> bool:
            writer.write(piece)
            return answer.done()

        await eventually_async(is_closed_after_one_more_piece, within_s=WITHIN_S, every_s=0.005)
        writer.close()
        return await answer


@asynccontextmanager
async def served(
    app: ASGIApp, limits: HttpLimits, render_refusal: RenderRefusal = render_error, *, takes_pipelined: bool = True
) -> AsyncIterator[Port]:
    """Serve the application on a free port."""
    with open_listener("127.0.0.1", 0, name="the test", setting="TEST") as listener:
        port = Port(listener.getsockname()[1])
        server = make_server(
            app,
            limits,
            grace_s=1,
            count_closed=lambda reason: port.closed.update([reason]),
            render_refusal=render_refusal,
            takes_pipelined=takes_pipelined,
        )
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            await eventually_async(lambda: server.started, within_s=WITHIN_S, every_s=0.005)
            yield port
        finally:
            server.should_exit = True
            await task


async def read_all(reader: asyncio.StreamReader) -> bytes:
    """Return what the port sends until it closes the connection, or resets it because more was sent than it reads."""
    chunks: list[bytes] = []
    with suppress(ConnectionError):
        async with asyncio.timeout(WITHIN_S):
            while chunk := await reader.read(65_536):
                chunks.append(chunk)
    return b"".join(chunks)
