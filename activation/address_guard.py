"""Checks the address that a destination's URL leads to: a definition must not become a way into the internal network."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

from domain.public_addresses import is_public
from runtime.errors import Permanent, Transient

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Maps (host, port) to addresses as text; raises OSError."""


class Refused(Permanent):
    """The host resolves to an address that destinations may not reach."""


async def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a host, by the system's resolver."""
    entries = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in entries))


async def choose_address(host: str, port: int, resolver: Resolve, *, allow_private: bool) -> str:
    """Return the address to connect to. Raises Refused when any address of the host is private, Transient when it has none now.

    All addresses must be public: a name with one public and one private address is an attack or a mistake.
    """
    try:
        addresses = await resolver(host, port)
    except OSError as error:
        raise Transient(f"the host name cannot be resolved ({type(error).__name__})") from error
    if not addresses:
        raise Transient("the host name has no address")
    if not allow_private and not all(is_public(address) for address in addresses):
        raise Refused("the host leads to a private address: set allow_private_addresses if that is meant")
    return addresses[0]
