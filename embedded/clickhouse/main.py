"""The engine's process: it claims directory and port, restricts itself, proves that it is confined, and serves until SIGTERM."""

import argparse
import asyncio
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from embedded.clickhouse import landlock, store_directory, users
from embedded.clickhouse.environment import drop_other_variables
from embedded.clickhouse.limits import limits_of, usable_processors
from runtime.errors import Misconfigured
from runtime.http.limits import HttpLimits
from runtime.http.server import make_server
from runtime.logs import configure, get_logger
from runtime.variables import read_settings

if TYPE_CHECKING:
    from embedded.clickhouse.app import Application

HOST = "127.0.0.1"
_GRACE_S = 10
_MAX_HEADER_BYTES = 1 << 20
"""The address may hold a query with its parameters."""
_MAX_BODY_BYTES = 16 << 30
"""Rows of an INSERT, which pass through; the text of a query is far less."""
log = get_logger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM. Return 0 after an orderly stop, 1 after one line on stderr when it cannot serve."""
    parser = argparse.ArgumentParser(prog="python -m embedded.clickhouse", description="The ClickHouse engine on a loopback port")
    parser.add_argument("--path", type=Path, required=True, help="directory of the store")
    parser.add_argument("--port", type=int, required=True, help="port on 127.0.0.1")
    parser.add_argument("--users-file", type=Path, help="JSON: {name: {password_sha256, role: app or analyst}}")
    options = parser.parse_args(arguments)
    if arguments is None:
        drop_other_variables()
    try:
        settings = read_settings()
        configure(settings, "clickhouse")
        http_limits = HttpLimits.of(settings, max_header_bytes=_MAX_HEADER_BYTES, max_body_bytes=_MAX_BODY_BYTES)
        _serve(options.path, options.port, options.users_file, http_limits)
    except Misconfigured as error:
        print(f"clickhouse: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


def _serve(path: Path, port: int, users_file: Path | None, http_limits: HttpLimits) -> None:
    users_by_name = users.load_users(users_file)
    listener = _bind_listener(port)
    directory, lock = store_directory.claim_directory(path)
    # Before any thread is started: the kernel restricts this thread and those it starts later, never one that runs already.
    if (restriction_failure := landlock.restrict_process(directory, landlock.interpreter_paths())) is not None:
        log.warning("no_kernel_sandbox", why=restriction_failure, remaining="the statement scan and the grants")
    try:
        from embedded.clickhouse.app import Application  # here, because the engine starts threads when it is imported
        from embedded.clickhouse.engine import Engine, describe_open_failure
    except (ImportError, RuntimeError, OSError) as error:
        raise Misconfigured(f"the engine (chdb-core) does not load: {str(error).splitlines()[0][:300]}") from error
    try:
        memory, processors = store_directory.engine_memory(), usable_processors()
        limits_by_user = {name: limits_of(user.role, memory, processors) for name, user in users_by_name.items()}
        engine = Engine(limits_by_user)
    except RuntimeError as error:
        raise Misconfigured(describe_open_failure(str(error))) from error
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve_until_signal(Application(engine, users_by_name, limits_by_user), listener, http_limits))
    finally:
        engine.close()
        listener.close()
        lock.close()


async def _serve_until_signal(application: "Application", listener: socket.socket, http_limits: HttpLimits) -> None:
    server = make_server(application, http_limits, grace_s=_GRACE_S, lifespan="on", takes_pipelined=False)

    def stop() -> None:
        server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    log.info("serving", port=listener.getsockname()[1])
    await server.serve(sockets=[listener])


def _bind_listener(port: int) -> socket.socket:
    # the protocol is named, because asyncio switches Nagle's delay off only where it is: 40 ms an answer otherwise
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise Misconfigured(
            f"--port {port}: {getattr(error, 'strerror', None) or 'not a port'} on {HOST}; choose another"
        ) from error
    return listener
