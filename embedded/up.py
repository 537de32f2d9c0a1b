"""`onefold up`: lock the data directory, run the stack until a signal or a command stops it, and close everything in order."""

import asyncio
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from embedded import control
from embedded.directory_lock import lock_directory
from embedded.layout import Layout
from embedded.roles import Role
from embedded.stack import STORES, Prepare, Stack
from embedded.supervisor import Notify

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def up(
    layout: Layout, *, roles: Sequence[Role], prepare: Prepare | None, announce: Callable[[dict[str, Any]], None], notify: Notify,
    stores: Sequence[str] = STORES,
) -> None:  # fmt: skip
    """Run until SIGINT, SIGTERM, SIGHUP or the control command `stop`; `announce` gets the status once all is ready.

    Raises OnefoldError when the stack does not come up; by then nothing of it runs any more.
    """
    layout.create_directories()
    with lock_directory(layout):
        stack = Stack(layout, stores=stores, roles=roles, prepare=prepare, notify=notify)
        stack.set_up()
        asyncio.run(_run(stack, announce, notify))


async def _run(stack: Stack, announce: Callable[[dict[str, Any]], None], notify: Notify) -> None:
    stop_requested = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in _SIGNALS:
        loop.add_signal_handler(signal_number, stop_requested.set)
    socket = stack.layout.socket("control")
    server = await control.serve(socket, _command_handler(stack, stop_requested))
    try:
        if await _start_unless_stopped(stack, stop_requested):
            announce(await stack.status())
            await stop_requested.wait()
        notify("stopping")
    finally:
        await stack.stop()
        server.close()
        socket.unlink(missing_ok=True)
    notify("stopped")


async def _start_unless_stopped(stack: Stack, stop_requested: asyncio.Event) -> bool:
    """Start the stack. Return False when a signal or a command stopped it before it was ready."""
    starting = asyncio.create_task(stack.start(), name="start")
    stopping = asyncio.create_task(stop_requested.wait(), name="stop requested")
    await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if starting.done():
        await starting
        return True
    starting.cancel()
    with suppress(asyncio.CancelledError):
        await starting
    return False


def _command_handler(stack: Stack, stop_requested: asyncio.Event) -> control.CommandHandler:
    role_lock = asyncio.Lock()

    async def handle(command: str, name: str) -> Any:
        if command == "status":
            return await stack.status()
        if command == "stop":
            stop_requested.set()
            return None
        async with role_lock:
            await (stack.stop_role(name) if command == "stop_role" else stack.start_role(name))
        return None

    return handle
