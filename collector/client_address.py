"""Who sent a request, when proxies may stand in between. Pure."""

from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address


def client_address(peer: str, forwarded: Sequence[str], trusted_hops: int) -> str:
    """The client's address, "" if it is none.

    `forwarded` are the X-Forwarded-For headers, `trusted_hops` how many proxies of our own stand before the collector, each of
    which adds
    whom it heard. What stands further left was written by the client, who may write anything; a request that has come through
    fewer proxies is known by its peer alone.
    """
    entries = [entry.strip() for header in forwarded for entry in header.split(",")] if trusted_hops else []
    return _normalise_address(entries[-trusted_hops] if trusted_hops and len(entries) >= trusted_hops else peer)


def _normalise_address(text: str) -> str:
    """Without brackets and a port; an IPv4 address in IPv6 clothes as IPv4."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        parsed = ip_address(text)
    except ValueError:
        return ""
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(parsed)


def client_scheme(own_scheme: str, forwarded: Sequence[str], trusted_hops: int) -> str:
    """`http` or `https`, as the client's browser sees it: what the outermost of our own proxies says, else `own_scheme`."""
    entries = [entry.strip().lower() for header in forwarded for entry in header.split(",")] if trusted_hops else []
    client_scheme = entries[-min(trusted_hops, len(entries))] if entries else own_scheme
    return client_scheme if client_scheme in ("http", "https") else own_scheme
