"""The address of a Redis Cluster: `redis+cluster://user:password@host:port,host:port?option=value`."""

from typing import Any, Final
from urllib.parse import urlsplit

from redis.asyncio.connection import SSLConnection, parse_url

SCHEMES: Final = {"redis+cluster": "redis", "rediss+cluster": "rediss"}
"""The schemes of clusters, and what one of their nodes has."""
PORT: Final = 6379


def parsed(url: str) -> tuple[list[tuple[str, int]], dict[str, Any]]:
    """Hosts with their ports, and the driver's options. Raises ValueError when `url` is no such address."""
    scheme, _, rest = url.partition("://")
    if scheme not in SCHEMES:
        raise ValueError("not an address of a cluster")
    authority, mark, tail = _cut(rest)
    credentials, at, hosts = authority.rpartition("@")
    parts = [urlsplit(f"//{host}") for host in hosts.split(",")]
    nodes = [(part.hostname or "", part.port or PORT) for part in parts]
    if any(not host for host, _ in nodes):
        raise ValueError("an address without a host")
    options = dict(parse_url(f"{SCHEMES[scheme]}://{credentials}{at}{parts[0].netloc}{mark}{tail}"))
    for replaced in ("host", "port"):
        options.pop(replaced, None)
    if options.pop("connection_class", None) is SSLConnection:
        options["ssl"] = True
    if options.get("db"):
        raise ValueError("a cluster has one database, 0")
    return nodes, options


def _cut(rest: str) -> tuple[str, str, str]:
    """Authority, the character that ends it, what follows."""
    at = min((rest.index(mark) for mark in "/?" if mark in rest), default=len(rest))
    return rest[:at], rest[at : at + 1], rest[at + 1 :]
