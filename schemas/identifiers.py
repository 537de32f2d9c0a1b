"""Identifiers: namespaces, ranks, normalising, and the keyed hash that stands for an identifier everywhere but in its event.

A *node* is 32 hex digits: the first is the namespace rank, the other 31 the top 124 bits of a keyed BLAKE2b-128 of namespace and
value. So nodes sort by (namespace rank, keyed hash), and the smallest member of a cluster is its profile id.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final

import phonenumbers

NAMESPACE_RANK: Final = {
    "user_id": 0, "crm_id": 1, "email": 2, "phone": 3, "device_id": 4, "anonymous_id": 5, "caller_number": 6,
}  # fmt: skip
OWNER_ORDER: Final = ("user_id", "crm_id", "device_id", "anonymous_id", "email", "phone", "caller_number")
MAX_VALUE_CHARS: Final = 1024

Identifier = tuple[str, str]
"""(namespace, normalised value)."""

_BLOCKED_EXACT: Final = frozenset(
    {
        "-1", "0", "null", "nil", "none", "undefined", "nan", "anonymous", "unknown", "n/a", "na", "guest", "test", "user", "id",
        "true", "false", "[object object]", "00000000-0000-0000-0000-000000000000", "test@test.com", "test@example.com",
    }
)  # fmt: skip
_BLOCKED_PATTERNS: Final = (
    re.compile(r"^[0\-\s]*$"),
    re.compile(r"^\+?(\d)\1{5,}$"),
    re.compile(r"@example\.(com|org|net)$"),
)
_EMAIL: Final = re.compile(r"^[^@\s]+@[^@\s]+\.[^@\s]+$")


def is_blocked(value: str) -> bool:
    """Whether a value is one that names nobody (`null`, `-1`, `test@test.com`, all equal digits …) and must make no node."""
    folded = value.casefold()
    return folded in _BLOCKED_EXACT or any(pattern.search(folded) for pattern in _BLOCKED_PATTERNS)


def normalise(namespace: str, value: str, default_country: str) -> str | None:
    """The one spelling of an identifier's value: NFC and trimmed; e-mails lower case with an IDNA domain, phones E.164.

    None when it cannot be an identifier of that namespace (empty, too long, not an e-mail, not a phone number) or is blocked.
    """
    text = unicodedata.normalize("NFC", value).strip()
    if not text or len(text) > MAX_VALUE_CHARS:
        return None
    if namespace == "email":
        text = text.lower()
        if not _EMAIL.match(text):
            return None
        local, _, domain = text.rpartition("@")
        try:
            text = f"{local}@{domain.encode('idna').decode('ascii')}"
        except UnicodeError:
            return None
    elif namespace in ("phone", "caller_number"):
        try:
            number = phonenumbers.parse(text, default_country)
        except phonenumbers.NumberParseException:
            return None
        if not phonenumbers.is_possible_number(number):
            return None
        text = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return None if is_blocked(text) else text


def node(secret: bytes, identifier: Identifier) -> str:
    """The 32 hex digits that stand for an identifier (see the module's docstring)."""
    namespace, value = identifier
    digest = hashlib.blake2b(namespace.encode() + b"\0" + value.encode(), key=secret[:64], digest_size=16).hexdigest()
    return f"{NAMESPACE_RANK[namespace]:x}{digest[:31]}"


def pick_owner(identifiers: Sequence[Identifier]) -> Identifier | None:
    """The identifier whose fragment an event belongs to: the first by owner order, the smallest value among equals."""
    return min(identifiers, key=lambda pair: (OWNER_ORDER.index(pair[0]), pair[1]), default=None)


def links_from_strongest(nodes: Iterable[str]) -> list[tuple[str, str]]:
    """The links that an event's nodes are evidence for: from the strongest to each other one, as (smaller, larger)."""
    ordered = sorted(set(nodes))
    return [(ordered[0], other) for other in ordered[1:]]


def namespace_of(node_id: str) -> str:
    """The namespace that a node's first digit stands for."""
    return _NAMESPACES[int(node_id[0], 16)]


_NAMESPACES: Final = tuple(sorted(NAMESPACE_RANK, key=lambda name: NAMESPACE_RANK[name]))
