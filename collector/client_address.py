"""The client's address and scheme when proxies forward its requests. Pure.

Example: with one trusted proxy, the peer 10.0.0.2 and `X-Forwarded-For: 1.2.3.4, 203.0.113.9`, the client is 203.0.113.9. The proxy
added that entry itself; 1.2.3.4 was written by the client, who may write anything.
"""

from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address


def client_address(peer: str, forwarded: Sequence[str], trusted_hops: int) -> str:
    """Return the client's address, "" when it cannot be read.

    `forwarded` are the X-Forwarded-For headers. `trusted_hops` is the number of our own proxies before the collector; each of them
    appends the address of its peer. Entries further left were written by the client. When there are fewer entries than proxies,
    only the peer's address can be trusted.
    """
    entries = [entry.strip() for header in forwarded for entry in header.split(",")] if trusted_hops else []
    return _normalise_address(entries[-trusted_hops] if trusted_hops and len(entries) >= trusted_hops else peer)


def _normalise_address(text: str) -> str:
    """Return the address without brackets and port. An IPv4 address mapped into IPv6 is returned as IPv4."""
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
    """Return the scheme that the client's browser uses: the entry of our outermost proxy, else `own_scheme`."""
    entries = [entry.strip().lower() for header in forwarded for entry in header.split(",")] if trusted_hops else []
    client_scheme = entries[-min(trusted_hops, len(entries))] if entries else own_scheme
    return client_scheme if client_scheme in ("http", "https") else own_scheme
