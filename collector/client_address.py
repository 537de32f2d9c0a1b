"""Who sent a request, when proxies may stand in between. Pure."""

from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address


def address(peer: str, forwarded: Sequence[str], hops: int) -> str:
    """The client's address, "" if it is none.

    `forwarded` are the X-Forwarded-For headers, `hops` how many proxies of our own stand before the collector, each of which adds
    whom it heard. What stands further left was written by the client, who may write anything; a request that has come through
    fewer proxies is known by its peer alone.
    """
    listed = [entry.strip() for header in forwarded for entry in header.split(",")] if hops else []
    return _plain(listed[-hops] if hops and len(listed) >= hops else peer)


def _plain(text: str) -> str:
    """Without brackets and a port; an IPv4 address in IPv6 clothes as IPv4."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text)
    except ValueError:
        return ""
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(found)


def scheme(own: str, forwarded: Sequence[str], hops: int) -> str:
    """`http` or `https`, as the client's browser sees it: what the outermost of our own proxies says, else `own`."""
    listed = [entry.strip().lower() for header in forwarded for entry in header.split(",")] if hops else []
    said = listed[-min(hops, len(listed))] if listed else own
    return said if said in ("http", "https") else own
