"""Loopback ports: chosen once, kept in a file, taken again at the next start."""

import json
import random
import socket
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from embedded.layout import write_private
from runtime.errors import Misconfigured

# Below the range from which outgoing connections take their ports. Inside it, a client that keeps trying the port of a
# service that is just restarting can be given that very port, connect to itself and keep the service from coming back.
_LOWEST, _HIGHEST = 18_000, 32_000


def take(path: Path, names: Sequence[str], fixed: Mapping[str, int] | None = None) -> dict[str, int]:
    """A free loopback port for every name, all different, remembered in the JSON file `path`.

    A remembered port is taken again if it is free; `fixed` ports must be free. Raises Misconfigured for a fixed port in use.
    """
    wanted, kept, chosen = fixed or {}, read(path), {}
    with ExitStack() as held:
        for name in sorted(names, key=lambda item: item not in wanted):
            if name in wanted:
                chosen[name] = _fixed(held, name, wanted[name])
            else:
                chosen[name] = _bind(held, kept.get(name, 0)) or _any(held)
    write_private(path, json.dumps({**kept, **chosen}, indent=1, sort_keys=True))
    return {name: chosen[name] for name in names}


def read(path: Path) -> dict[str, int]:
    """The remembered ports; none if the file is missing or unreadable, as new ones do no harm."""
    try:
        stored = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    if not isinstance(stored, dict):
        return {}
    return {str(name): port for name, port in stored.items() if isinstance(port, int) and 0 < port < 65_536}


def free_port() -> int:
    """One free loopback port."""
    with ExitStack() as held:
        return _any(held)


def _fixed(held: ExitStack, name: str, port: int) -> int:
    if _bind(held, port):
        return port
    raise Misconfigured(
        f"port {port} (ONEFOLD_{name.upper()}_PORT) is in use on 127.0.0.1: end what listens there, or choose another port"
    )


def _any(held: ExitStack) -> int:
    for _ in range(200):
        if port := _bind(held, random.randint(_LOWEST, _HIGHEST)):  # noqa: S311 - spreads parallel stacks, guards nothing
            return port
    raise Misconfigured(f"no free port between {_LOWEST} and {_HIGHEST} on 127.0.0.1: end some of what listens there")


def _bind(held: ExitStack, port: int) -> int:
    """`port` if it could be bound (and is held until the stack closes), else 0."""
    if not port:
        return 0
    listener = held.enter_context(socket.socket())
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError:
        return 0
    return port
