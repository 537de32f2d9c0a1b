"""Checks the address that a destination's URL leads to: a definition must not become a way into the internal network."""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable

from runtime.errors import Permanent, Transient

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Maps (host, port) to addresses as text; raises OSError."""

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


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


def is_public(text: str) -> bool:
    """Tell whether an address belongs to the public internet, and so does every IPv4 address that is embedded in it."""
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
