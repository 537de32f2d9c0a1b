"""Reads the address of a Redis Cluster: `redis+cluster://user:password@host:port,host:port?option=value`."""

from typing import Any, Final
from urllib.parse import urlsplit

from redis.asyncio.connection import SSLConnection, parse_url

CLUSTER_SCHEMES: Final = {"redis+cluster": "redis", "rediss+cluster": "rediss"}
"""The schemes of a cluster's address, each with the scheme of its single nodes."""
DEFAULT_PORT: Final = 6379


def parse_cluster_url(url: str) -> tuple[list[tuple[str, int]], dict[str, Any]]:
    """Return the hosts with their ports, and the driver's options. Raises ValueError when `url` is not the address of a cluster."""
    scheme, _, address = url.partition("://")
    if scheme not in CLUSTER_SCHEMES:
        raise ValueError("not an address of a cluster")
    authority, mark, options_text = _split_authority(address)
    credentials, at, hosts = authority.rpartition("@")
    parts = [urlsplit(f"//{host}") for host in hosts.split(",")]
    nodes = [(part.hostname or "", part.port or DEFAULT_PORT) for part in parts]
    if any(not host for host, _ in nodes):
        raise ValueError("an address without a host")
    options = dict(parse_url(f"{CLUSTER_SCHEMES[scheme]}://{credentials}{at}{parts[0].netloc}{mark}{options_text}"))
    for replaced in ("host", "port"):
        options.pop(replaced, None)
    if options.pop("connection_class", None) is SSLConnection:
        options["ssl"] = True
    if options.get("db"):
        raise ValueError("a cluster has one database, 0")
    return nodes, options


def _split_authority(address: str) -> tuple[str, str, str]:
    """Return the authority of an address, the character that ends it, and the rest."""
    end = min((address.index(mark) for mark in "/?" if mark in address), default=len(address))
    return address[:end], address[end : end + 1], address[end + 1 :]
