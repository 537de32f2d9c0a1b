"""Identifiers: their namespaces and ranks, and the keyed hash that stands for an identifier outside of its event.

Stores, topics and logs must not hold an e-mail address or a phone number where a name for it is enough. They hold its *node*: 32
hex digits, of which the first is the rank of the namespace and the other 31 are the top 124 bits of a keyed BLAKE2b-128 over
namespace and value. Nodes therefore sort by (namespace rank, keyed hash), and the smallest node of a cluster is its profile id.

An example: `user_id` has rank 0 and `email` rank 2, so a node of `user_id:KH-7` begins with `0`, one of `email:lan@shop.vn` with
`2`, and a profile of these two is named after the user id, in whatever order they were seen.

A namespace of one's own (`loyalty_card`) is declared by the identity rules with the rank of a shipped one. Its nodes begin with
that rank too, then eight times `f` and five digits that are a hash of the namespace's name; 18 digits of the keyed hash follow. So
they sort behind the shipped namespace of their rank and before the next rank, and a node tells its namespace also to a reader that
does not know the rules: `1ffffffff3b0a2…` is of a namespace of one's own with the rank of `crm_id`.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Final

NAMESPACE_RANK: Final = {
    "user_id": 0, "crm_id": 1, "email": 2, "phone": 3, "device_id": 4, "anonymous_id": 5, "caller_number": 6,
}  # fmt: skip
# A cookie comes before an e-mail on purpose: an e-mail may later prove to belong to nobody in particular.
OWNER_ORDER: Final = ("user_id", "crm_id", "device_id", "anonymous_id", "email", "phone", "caller_number")
MAX_VALUE_CHARS: Final = 1024
OWN_MARK: Final = "ffffffff"
"""What follows the rank in a node of a namespace of one's own, and in no other node."""
OWN_TAG_DIGITS: Final = 5
_NONE: Final[Mapping[str, int]] = MappingProxyType({})

Identifier = tuple[str, str]
"""(namespace, normalised value)."""


def node(secret: bytes, identifier: Identifier, own_ranks: Mapping[str, int] = _NONE) -> str:
    """Return the 32 hex digits that stand for an identifier (see the docstring of the module). `secret` is the tenant's key.

    `own_ranks` has the rank of each namespace of one's own. Raises KeyError for a namespace that is neither shipped nor there.
    """
    namespace, value = identifier
    digest = hashlib.blake2b(namespace.encode() + b"\0" + value.encode(), key=secret[:64], digest_size=16).hexdigest()
    if namespace not in NAMESPACE_RANK:
        return f"{own_ranks[namespace]:x}{OWN_MARK}{own_tag(namespace)}{digest[: 31 - len(OWN_MARK) - OWN_TAG_DIGITS]}"
    if digest.startswith(OWN_MARK):
        digest = f"0{digest[1:]}"
    return f"{NAMESPACE_RANK[namespace]:x}{digest[:31]}"


@lru_cache(maxsize=256)
def own_tag(namespace: str) -> str:
    """Return the digits that stand for a namespace of one's own in its nodes."""
    return hashlib.blake2b(namespace.encode(), digest_size=16, person=b"namespace").hexdigest()[:OWN_TAG_DIGITS]


def pick_owner(identifiers: Sequence[Identifier], own_orders: Mapping[str, int] = _NONE) -> Identifier | None:
    """Return the identifier whose fragment an event belongs to: the first by OWNER_ORDER, among equals the smallest value.

    `own_orders` has the order, from 1, of each namespace of one's own: it comes behind the shipped one of that order. Returns None
    for an event without identifiers.
    """

    def order(identifier: Identifier) -> tuple[int, bool, str, str]:
        namespace, value = identifier
        if namespace in NAMESPACE_RANK:
            return OWNER_ORDER.index(namespace) + 1, False, "", value
        return own_orders[namespace], True, namespace, value

    return min(identifiers, key=order, default=None)


def links_from_strongest(nodes: Iterable[str]) -> list[tuple[str, str]]:
    """Return the links that an event is evidence for: from its strongest node to each other one, as (smaller, larger).

    A star of n - 1 links connects the same nodes as all n * (n - 1) / 2 pairs would, at a cost that grows with n alone.
    """
    ordered = sorted(set(nodes))
    return [(ordered[0], other) for other in ordered[1:]]


def namespace_of(node_id: str) -> str:
    """Return the namespace of a node: the name of a shipped one, `own-` and the tag of one's own (see `namespace_key`)."""
    if is_own(node_id):
        return f"own-{node_id[1 + len(OWN_MARK) :][:OWN_TAG_DIGITS]}"
    return _NAMESPACES[int(node_id[0], 16)]


def is_own(node_id: str) -> bool:
    """Return whether a node is of a namespace of one's own."""
    return node_id.startswith(OWN_MARK, 1)


def namespace_key(namespace: str) -> str:
    """Return what `namespace_of` answers for the nodes of a namespace, by which limits are looked up."""
    return namespace if namespace in NAMESPACE_RANK else f"own-{own_tag(namespace)}"


_NAMESPACES: Final = tuple(sorted(NAMESPACE_RANK, key=lambda name: NAMESPACE_RANK[name]))
