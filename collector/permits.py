"""How many requests are in progress, and how many bytes of bodies: requests that have shown a valid key have places of their own.

Segment's API allows the write key in the body, so a body must be read before anything is known of its sender. Such *keyless*
requests have places apart, and each address has a share of them: whoever holds them all shuts out neither the clients with a key in
the header nor keyless ones elsewhere. A request that shows its key moves to the places of the keyed ones, with its bytes.
"""

from collections import Counter
from dataclasses import dataclass

from collector.problems import Problem, RequestRefused


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """The most requests, and bytes of their bodies, in all and for one address."""

    max_requests: int
    max_bytes: int
    max_requests_per_peer: int
    max_bytes_per_peer: int


class RequestPool:
    """The places of one kind of requests. Whatever exceeds them is refused with BUSY, which clients answer by sending again."""

    def __init__(self, limits: PoolLimits) -> None:
        self._limits = limits
        self._requests: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self.active_requests = 0
        self.reserved_bytes = 0

    def take(self, peer: str, size: int) -> None:
        """Take a place for a request of the address `peer` that has reserved `size` bytes so far. Raises RequestRefused."""
        limits = self._limits
        if self.active_requests >= limits.max_requests or self._requests[peer] >= limits.max_requests_per_peer:
            raise RequestRefused(Problem.BUSY)
        self.reserve(peer, size)
        self.active_requests += 1
        self._requests[peer] += 1

    def reserve(self, peer: str, size: int) -> None:
        """Reserve `size` bytes more. Raises RequestRefused when too few are left."""
        limits = self._limits
        if self.reserved_bytes + size > limits.max_bytes or self._bytes[peer] + size > limits.max_bytes_per_peer:
            raise RequestRefused(Problem.BUSY)
        self.reserved_bytes += size
        self._bytes[peer] += size

    def free(self, peer: str, size: int) -> None:
        """Give back a place and its bytes."""
        self.active_requests -= 1
        self.reserved_bytes -= size
        self._requests[peer] -= 1
        self._bytes[peer] -= size
        if not self._requests[peer]:  # an address costs memory only while it has requests
            del self._requests[peer], self._bytes[peer]


class RequestLimiter:
    """Gives out permits for requests, and knows how many are in use."""

    def __init__(self, keyed: PoolLimits, keyless: PoolLimits) -> None:
        self.keyed, self.keyless = RequestPool(keyed), RequestPool(keyless)

    def permit(self, peer: str) -> "Permit":
        """Return the permit of a request of the address `peer`. It has no place yet, so it never fails."""
        return Permit(self, peer)

    @property
    def active_requests(self) -> int:
        """The requests that have a place."""
        return self.keyed.active_requests + self.keyless.active_requests

    @property
    def reserved_bytes(self) -> int:
        """The bytes that these requests have reserved."""
        return self.keyed.reserved_bytes + self.keyless.reserved_bytes


class Permit:
    """The place of one request, and the bytes that it has reserved."""

    def __init__(self, limiter: RequestLimiter, peer: str) -> None:
        self._limiter = limiter
        self._peer = peer
        self._pool: RequestPool | None = None
        self._reserved_bytes = 0

    def enter(self) -> None:
        """Take a place among the keyless requests, unless the request has one. Raises RequestRefused when none is left."""
        if self._pool is None:
            self._move_to(self._limiter.keyless)

    def prove(self) -> None:
        """Take a place among the keyed requests, and leave that among the keyless ones. Raises RequestRefused when none is left."""
        if self._pool is not self._limiter.keyed:
            self._move_to(self._limiter.keyed)

    def reserve_bytes(self, size: int) -> None:
        """Reserve `size` more bytes for this request. Raises RequestRefused when too few are left."""
        if self._pool is None:
            self._move_to(self._limiter.keyless)
        if self._pool is not None:
            self._pool.reserve(self._peer, size)
            self._reserved_bytes += size

    def release(self) -> None:
        """Give back everything that the request has taken."""
        if self._pool is not None:
            self._pool.free(self._peer, self._reserved_bytes)
            self._pool = None

    def _move_to(self, pool: RequestPool) -> None:
        pool.take(self._peer, self._reserved_bytes)
        if self._pool is not None:
            self._pool.free(self._peer, self._reserved_bytes)
        self._pool = pool
