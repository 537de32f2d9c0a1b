"""Loopback ports: chosen once, kept in a file, taken again at the next start."""

import json
import random
import socket
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from runtime.errors import Misconfigured
from runtime.private_files import write_private

# Below the range from which outgoing connections take their ports. Inside it, a client that keeps trying the port of a
# service that is just restarting can be given that very port, connect to itself and keep the service from coming back.
_LOWEST, _HIGHEST = 18_000, 32_000


def allocate_ports(path: Path, names: Sequence[str], fixed: Mapping[str, int] | None = None) -> dict[str, int]:
    """Choose a free loopback port for every name, all different, and remember them in the JSON file `path`.

    A remembered port is taken again if it is free; `fixed` ports must be free. Raises Misconfigured for a fixed port in use.
    """
    required, remembered, allocated = fixed or {}, read_ports(path), {}
    with ExitStack() as reservations:
        for name in sorted(names, key=lambda item: item not in required):
            if name in required:
                allocated[name] = _bind_fixed(reservations, name, required[name])
            else:
                allocated[name] = _bind(reservations, remembered.get(name, 0)) or _bind_any(reservations)
    write_private(path, json.dumps({**remembered, **allocated}, indent=1, sort_keys=True))
    return {name: allocated[name] for name in names}


def read_ports(path: Path) -> dict[str, int]:
    """Read the remembered ports; none if the file is missing or unreadable, since new ports do no harm."""
    try:
        stored = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    if not isinstance(stored, dict):
        return {}
    return {str(name): port for name, port in stored.items() if isinstance(port, int) and 0 < port < 65_536}


def _bind_fixed(reservations: ExitStack, name: str, port: int) -> int:
    if _bind(reservations, port):
        return port
    raise Misconfigured(
        f"port {port} (ONEFOLD_{name.upper()}_PORT) is in use on 127.0.0.1: end what listens there, or choose another port"
    )


def _bind_any(reservations: ExitStack) -> int:
    for _ in range(200):
        if port := _bind(reservations, random.randint(_LOWEST, _HIGHEST)):  # noqa: S311 - spreads parallel stacks, guards nothing
            return port
    raise Misconfigured(f"no free port between {_LOWEST} and {_HIGHEST} on 127.0.0.1: end some of what listens there")


def _bind(reservations: ExitStack, port: int) -> int:
    """Return `port` if it could be bound (it stays bound until the exit stack closes), else 0."""
    if not port:
        return 0
    listener = reservations.enter_context(socket.socket())
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError:
        return 0
    return port
