"""The places of a port: who may keep a connection open when there are more connections than places.

A connection is *proven* while a request with a valid key or token is in progress on it, and *unproven* otherwise: before its
request has shown a key, and while it idles between two requests. Nobody can take the place of a proven connection. When places
run out, the unproven connection that has been unproven for the longest time is closed; when one address has more than its share of
unproven connections, it is the longest of that address. So whoever opens a thousand connections without a key closes connections
of their own, while a client with a key needs a place only for the moment until its headers have come.

Example: a port has 1,024 places, 256 of them unproven for each address. One address opens 1,025 connections that send nothing: 256
of them stay, and a client with a key, from there or from elsewhere, is served.
"""

import ipaddress
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final, Protocol

CONNECTION_KEY: Final = "http_connection"
"""Where the state of an ASGI scope names the connection of the request."""


class ClientConnection(Protocol):
    """One connection of a port."""

    def prove(self) -> None:
        """Note that the request in progress has shown a valid key."""

    def give_way(self) -> None:
        """Close the connection, because another one takes its place."""


class ConnectionTable:
    """The connections of one port, at most `max_connections`, at most `max_unproven_per_peer` unproven ones of one address."""

    def __init__(self, max_connections: int, max_unproven_per_peer: int) -> None:
        self._max_connections = max_connections
        self._max_unproven_per_peer = max_unproven_per_peer
        self._peers: dict[ClientConnection, str] = {}
        self._unproven: OrderedDict[ClientConnection, None] = OrderedDict()
        self._unproven_by_peer: dict[str, OrderedDict[ClientConnection, None]] = {}

    def __len__(self) -> int:
        return len(self._peers)

    def admit(self, connection: ClientConnection, peer: str) -> bool:
        """Give a new connection of the address `peer` a place; return False when all are taken by proven connections."""
        if not self._is_share_used_up(peer) and len(self._peers) >= self._max_connections:
            if not self._unproven:
                return False
            self._evict(next(iter(self._unproven)))
        self._peers[connection] = peer
        self._add_unproven(connection, peer)
        return True

    def prove(self, connection: ClientConnection) -> None:
        """Secure the place of a connection until `unprove`."""
        if connection in self._unproven:
            self._remove_unproven(connection)

    def unprove(self, connection: ClientConnection) -> None:
        """Make a connection unproven again, because its request is answered."""
        peer = self._peers.get(connection)
        if peer is not None and connection not in self._unproven:
            self._add_unproven(connection, peer)

    def remove(self, connection: ClientConnection) -> None:
        """Free the place of a connection that is closed; harmless for one that has none."""
        if connection in self._unproven:
            self._remove_unproven(connection)
        self._peers.pop(connection, None)

    def _is_share_used_up(self, peer: str) -> bool:
        return len(self._unproven_by_peer.get(peer, ())) >= self._max_unproven_per_peer

    def _add_unproven(self, connection: ClientConnection, peer: str) -> None:
        if self._is_share_used_up(peer):
            self._evict(next(iter(self._unproven_by_peer[peer])))
        self._unproven[connection] = None
        self._unproven_by_peer.setdefault(peer, OrderedDict())[connection] = None

    def _remove_unproven(self, connection: ClientConnection) -> None:
        del self._unproven[connection]
        peer = self._peers[connection]
        of_peer = self._unproven_by_peer[peer]
        del of_peer[connection]
        if not of_peer:
            del self._unproven_by_peer[peer]

    def _evict(self, connection: ClientConnection) -> None:
        self.remove(connection)
        connection.give_way()


def client_network(host: str) -> str:
    """Return what counts as one client: an IPv4 address, or a /64 network of IPv6, all of which one machine may have."""
    if ":" not in host:
        return host
    try:
        address = ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:
        return host
    return str(address.ipv4_mapped or ipaddress.IPv6Network((address, 64), strict=False))


def prove_connection(scope: Mapping[str, Any]) -> None:
    """Secure the connection of a request, given by its ASGI scope, because the request has shown a valid key."""
    connection = scope.get("state", {}).get(CONNECTION_KEY)
    if connection is not None:
        connection.prove()
