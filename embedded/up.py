"""`onefold up`: hold the data directory, run the stack until told to stop, close in order whatever happened."""

import asyncio
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from embedded import control
from embedded.layout import Layout
from embedded.directory_lock import claim
from embedded.roles import Role
from embedded.stack import (STORES, Prepare, Stack, prepare_all)
from embedded.supervisor import Say

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def up(
    layout: Layout, *, roles: Sequence[Role], announce: Callable[[dict[str, Any]], None], say: Say,
    stores: Sequence[str] = STORES, prepare: Prepare | None = prepare_all,
) -> None:  # fmt: skip
    """Run until SIGINT, SIGTERM, SIGHUP or the control command `stop`; `announce` gets the status once all is ready.

    Raises OnefoldError when the stack does not come up; by then nothing of it runs any more.
    """
    layout.make()
    with claim(layout):
        stack = Stack(layout, stores=stores, roles=roles, prepare=prepare, say=say)
        stack.set_up()
        asyncio.run(_run(stack, announce, say))


async def _run(stack: Stack, announce: Callable[[dict[str, Any]], None], say: Say) -> None:
    told_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, told_to_stop.set)
    socket = stack.layout.socket("control")
    server = await control.serve(socket, _handler(stack, told_to_stop))
    try:
        if await _started(stack, told_to_stop):
            announce(await stack.status())
            await told_to_stop.wait()
        say("stopping")
    finally:
        await stack.stop()
        server.close()
        socket.unlink(missing_ok=True)
    say("stopped")


async def _started(stack: Stack, told_to_stop: asyncio.Event) -> bool:
    """Start the stack; False when it was told to stop before it was ready."""
    starting = asyncio.create_task(stack.start(), name="start")
    stopping = asyncio.create_task(told_to_stop.wait(), name="told to stop")
    await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if starting.done():
        await starting
        return True
    starting.cancel()
    with suppress(asyncio.CancelledError):
        await starting
    return False


def _handler(stack: Stack, told_to_stop: asyncio.Event) -> control.Handler:
    changing = asyncio.Lock()

    async def handle(command: str, name: str) -> Any:
        if command == "status":
            return await stack.status()
        if command == "stop":
            told_to_stop.set()
            return None
        async with changing:
            await (stack.stop_role(name) if command == "stop_role" else stack.start_role(name))
        return None

    return handle
