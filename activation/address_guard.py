"""Which addresses a destination may lead to: a URL in a definition must not become a way into the inner network."""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable

from runtime.errors import Permanent, Transient

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[list[str]]]
"""(host, port) → addresses as text; raises OSError."""

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class Refused(Permanent):
    """The host leads to an address that destinations may not reach."""


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host by the system's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


async def choose_address(host: str, port: int, resolver: Resolve, *, allow_private: bool) -> str:
    """The one address to connect to. Raises Refused when any address of the host is not public, Transient when it has none now.

    All addresses must pass: a name with one public and one inner address is an attack, or a mistake.
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


def is_public(text: str) -> bool:
    """Whether an address is one of the public internet; addresses that carry another one inside are judged by that one too."""
    address = ipaddress.ip_address(text.partition("%")[0])
    return all(candidate.is_global and not candidate.is_multicast for candidate in (address, *_embedded_addresses(address)))


def _embedded_addresses(address: Address) -> list[Address]:
    if isinstance(address, ipaddress.IPv4Address):
        return []
    carried: list[Address | None] = [address.ipv4_mapped, address.sixtofour]
    if address.teredo is not None:
        carried += address.teredo
    if address in _NAT64:
        carried.append(ipaddress.IPv4Address(address.packed[-4:]))
    return [inner for inner in carried if inner is not None]
