"""The control socket of a running `onefold up`: one JSON object a line each way, for the same user only."""

import asyncio
import json
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from embedded.directory_lock import lock_holder, not_running_error
from embedded.layout import Layout
from runtime.errors import Invalid, OnefoldError, Permanent, Transient

CommandHandler = Callable[[str, str], Awaitable[Any]]
COMMANDS = ("status", "stop", "stop_role", "start_role")
_READ_TIMEOUT_S = 10.0


async def serve(path: Path, handle: CommandHandler) -> asyncio.Server:
    """Listen on `path` (mode 0600). `handle` gets a known command and its name argument ("" if none); its result is the answer."""
    with suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108 - left by a killed one: the claim on the data directory says that nobody else listens

    async def handle_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
                line = await asyncio.wait_for(reader.readline(), _READ_TIMEOUT_S)
                writer.write(json.dumps(await answer_line(line, handle)).encode() + b"\n")
                await writer.drain()
        finally:
            writer.close()

    server = await asyncio.start_unix_server(handle_connection, path)
    os.chmod(path, 0o600)  # noqa: PTH101 - a moment's work on a local file, as is the unlinking
    return server


async def answer_line(line: bytes, handle: CommandHandler) -> dict[str, Any]:
    """Answer one request line: {"result": …} or {"error": message}."""
    try:
        command, name = parse_command(line)
        return {"result": await handle(command, name)}
    except OnefoldError as error:
        return {"error": str(error)}


def parse_command(line: bytes) -> tuple[str, str]:
    """Parse a request line into the command and its name argument. Raises Invalid for anything else."""
    try:
        request = json.loads(line)
    except ValueError as error:
        raise Invalid("the request is not a line of JSON") from error
    if not isinstance(request, dict) or request.get("command") not in COMMANDS:
        raise Invalid(f"unknown command: choose among {', '.join(COMMANDS)}", path="command")
    name = request.get("name", "")
    if not isinstance(name, str) or request["command"].endswith("_role") != bool(name):
        raise Invalid("stop_role and start_role need a name, the others take none", path="name")
    return request["command"], name


def send_command(layout: Layout, command: str, name: str = "", *, timeout_s: float = 120.0) -> Any:
    """Ask the `onefold up` that runs in `layout`.

    Raises Misconfigured if none does, Transient if it does not answer, Permanent if it refuses.
    """
    request = {"command": command, "name": name} if name else {"command": command}
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_s)
            connection.connect(str(layout.socket("control")))
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as answer:
                line = answer.readline()
    except OSError as error:
        if (pid := lock_holder(layout)) is None:
            raise not_running_error(layout) from None
        raise Transient(f"`onefold up` (process id {pid}) in {layout.root} does not answer yet: try again shortly") from error
    if not line:
        raise Transient(f"`onefold up` in {layout.root} ended before it answered")
    response = json.loads(line)
    if "error" in response:
        raise Permanent(str(response["error"]))
    return response["result"]
