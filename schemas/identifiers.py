"""Identifiers: their namespaces and ranks, and the keyed hash that stands for an identifier outside of its event.

Stores, topics and logs must not hold an e-mail address or a phone number where a name for it is enough. They hold its *node*: 32
hex digits, of which the first is the rank of the namespace and the other 31 are the top 124 bits of a keyed BLAKE2b-128 over
namespace and value. Nodes therefore sort by (namespace rank, keyed hash), and the smallest node of a cluster is its profile id.

An example: `user_id` has rank 0 and `email` rank 2, so a node of `user_id:KH-7` begins with `0`, one of `email:lan@shop.vn` with
`2`, and a profile of these two is named after the user id, in whatever order they were seen.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

NAMESPACE_RANK: Final = {
    "user_id": 0, "crm_id": 1, "email": 2, "phone": 3, "device_id": 4, "anonymous_id": 5, "caller_number": 6,
}  # fmt: skip
# A cookie comes before an e-mail on purpose: an e-mail may later prove to belong to nobody in particular.
OWNER_ORDER: Final = ("user_id", "crm_id", "device_id", "anonymous_id", "email", "phone", "caller_number")
MAX_VALUE_CHARS: Final = 1024

Identifier = tuple[str, str]
"""(namespace, normalised value)."""


def node(secret: bytes, identifier: Identifier) -> str:
    """Return the 32 hex digits that stand for an identifier (see the docstring of the module). `secret` is the tenant's key."""
    namespace, value = identifier
    digest = hashlib.blake2b(namespace.encode() + b"\0" + value.encode(), key=secret[:64], digest_size=16).hexdigest()
    return f"{NAMESPACE_RANK[namespace]:x}{digest[:31]}"


def pick_owner(identifiers: Sequence[Identifier]) -> Identifier | None:
    """Return the identifier whose fragment an event belongs to: the first by OWNER_ORDER, among equals the smallest value.

    Returns None for an event without identifiers.
    """
    return min(identifiers, key=lambda pair: (OWNER_ORDER.index(pair[0]), pair[1]), default=None)


def links_from_strongest(nodes: Iterable[str]) -> list[tuple[str, str]]:
    """Return the links that an event is evidence for: from its strongest node to each other one, as (smaller, larger).

    A star of n - 1 links connects the same nodes as all n * (n - 1) / 2 pairs would, at a cost that grows with n alone.
    """
    ordered = sorted(set(nodes))
    return [(ordered[0], other) for other in ordered[1:]]


def namespace_of(node_id: str) -> str:
    """Return the namespace that the first digit of a node stands for."""
    return _NAMESPACES[int(node_id[0], 16)]


_NAMESPACES: Final = tuple(sorted(NAMESPACE_RANK, key=lambda name: NAMESPACE_RANK[name]))
