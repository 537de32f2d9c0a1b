"""Short content hashes, the same on every machine and in every run."""

import hashlib
import json
from typing import Any


def short_hash(text: str) -> str:
    """Return 16 hex digits of BLAKE2b: enough to tell a few thousand texts apart without storing them."""
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def message_hash(owner: str, message_id: str) -> str:
    """Return 16 hex digits for an owner's message: `lower(hex(substring(SHA256(concat(owner, id)), 1, 8)))` in ClickHouse.

    Messages of two owners differ even when their ids do not.
    """
    return text_hash(f"{owner}{message_id}")


def text_hash(text: str) -> str:
    """Return 16 hex digits of SHA-256: `lower(hex(substring(SHA256(text), 1, 8)))` in ClickHouse."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def content_hash(document: Any) -> str:
    """Return 12 hex digits of BLAKE2b over a JSON document's canonical form: keys sorted, so their order does not matter."""
    canonical = json.dumps(document, sort_keys=True, ensure_ascii=False)
    return hashlib.blake2b(canonical.encode(), digest_size=6).hexdigest()
