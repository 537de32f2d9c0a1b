"""How a process starts and ends: settings, logs, event loop, signals, and one clear line when it cannot go on."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator

import uvloop

from runtime.errors import Misconfigured, OnefoldError
from runtime.logs import configure, get_logger
from runtime.private_files import make_new_files_private
from runtime.settings import Settings
from runtime.variables import read_settings

Main = Callable[[Settings, asyncio.Event], Awaitable[None]]
"""Runs until the event is set, closes what it opened, and returns."""


def run(role: str, main: Main) -> None:
    """Run a process's main until SIGINT or SIGTERM; a second signal ends it at once. An OnefoldError: one log line, exit 1."""
    make_new_files_private()
    try:
        settings = read_settings()
    except Misconfigured as error:
        sys.exit(f"onefold {role}: {error}")
    configure(settings, role)
    log = get_logger("runtime.lifecycle")

    async def run_until_stopped() -> None:
        stop = asyncio.Event()
        with stop_on_signals(stop):
            log.info("starting", action="starting")
            await main(settings, stop)
            log.info("stopped", action="stopped")

    try:
        uvloop.run(run_until_stopped())
    except OnefoldError as error:
        log.error("failed", action="failed", error=str(error), kind=type(error).__name__)  # noqa: TRY400 - one line, no traceback
        sys.exit(1)


@contextlib.contextmanager
def stop_on_signals(stop: asyncio.Event) -> Iterator[None]:
    """Let SIGINT and SIGTERM set `stop` while the context is open; the second one ends the process at once."""
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if stop.is_set():
            os._exit(130)
        stop.set()

    for signal_number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signal_number, on_signal)
    try:
        yield
    finally:
        for signal_number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(signal_number)
