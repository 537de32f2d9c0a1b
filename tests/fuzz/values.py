"""Seeded makers of input: real calls and records, then whatever can go wrong with them."""

import copy
import gzip
import json
import random
from typing import Any, Final

from schemas.events import EVENT_TYPES

TEXTS: Final = (
    "", " ", "a", "null", "undefined", "Nguyễn Thị Ánh", "ánh@ví-dụ.vn", "+84901234567", "0901 234 567", "u" * 300, "x" * 5_000,
    "\x00", "a\x00b", "\ud800", "\udfff\ud800", "\u202e", "\ufeff", "😀" * 40, "e\u0301" * 20, "'; DROP TABLE events; --",
    "{{7*7}}", "../../etc/passwd", "%00%ff", "1e309", "NaN", "2025-06-15T10:00:00Z", "2025-13-45", "24:00", "9" * 400,
    "1970-01-01T00:00:60Z", "2025-366T24:00:00", "+99999-01-01", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59",
)  # fmt: skip
NUMBERS: Final = (
    0, -1, 1, 2**31, 2**32, 2**53, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64 - 1, 2**64, 10**40, 10**400, 0.1,
    -0.0, 1e308, 5e-324, float("inf"), float("-inf"), float("nan"), 1_750_000_000, 1_750_000_000_000, 1e20,
)  # fmt: skip
FIELDS: Final = (
    "type", "messageId", "userId", "anonymousId", "previousId", "groupId", "event", "name", "category", "properties", "traits",
    "context", "identifiers", "timestamp", "originalTimestamp", "sentAt", "integrations", "source", "writeKey", "batch", "call_id",
    "caller_number", "agent", "queue", "direction", "wait_seconds", "talk_seconds", "disposition", "order_id", "scheduled_at",
    "note", "sequence",
    "email", "phone", "device", "id", "userAgent", "page", "url", "referrer", "campaign", "timezone", "ip", "gpc",
)  # fmt: skip
_PLAIN: Final = [text for text in TEXTS if text.isascii() or text.isprintable()]
_REWORDED: Final = 0.15
_DEEPEST: Final = 3_000


def scalar(rng: random.Random) -> Any:
    """Return a random text, number, boolean or null."""
    return rng.choice((lambda: rng.choice(TEXTS), lambda: rng.choice(NUMBERS), lambda: rng.choice((None, True, False))))()


def value(rng: random.Random, depth: int = 3) -> Any:
    """Return a random JSON value, or sometimes a value that JSON does not allow."""
    kind = rng.random()
    if depth <= 0 or kind < 0.55:
        return scalar(rng)
    if kind < 0.62:
        return deep(rng)
    if kind < 0.8:
        return [value(rng, depth - 1) for _ in range(rng.randint(0, 5))]
    return {name(rng): value(rng, depth - 1) for _ in range(rng.randint(0, 6))}


def name(rng: random.Random) -> str:
    """Return a name for a field."""
    return rng.choice(FIELDS) if rng.random() < 0.7 else rng.choice(TEXTS)


def deep(rng: random.Random) -> Any:
    """Return a value nested more deeply than any client means it, or an object with more names than allowed."""
    if rng.random() < 0.05:
        return {f"n{n}": n for n in range(1_100)}
    found: Any = scalar(rng)
    for _ in range(rng.choice((5, 31, 32, 33, 60))):
        found = [found] if rng.random() < 0.5 else {"a": found}
    return found


def call(rng: random.Random) -> dict[str, Any]:
    """Return a call as clients send it."""
    kind = rng.choice(EVENT_TYPES)
    made: dict[str, Any] = {
        "type": kind, "messageId": f"m{rng.randrange(10**6)}", "userId": f"khách-{rng.randrange(40)}",
        "timestamp": "2025-06-15T10:00:00.123Z", "properties": {"total": 12.5, "items": [{"sku": "áo-dài", "n": 2}]},
        "context": {"userAgent": "Mozilla/5.0 (X11; Linux x86_64) Chrome/120.0", "timezone": "Asia/Saigon", "page": {"url": "https://a.vn/?utm_source=zalo"}},
    }  # fmt: skip
    if kind == "track":
        made["event"] = "Order Completed"
    elif kind == "identify":
        made["traits"] = {"email": f"ánh{rng.randrange(9)}@ví-dụ.vn", "phone": "0901234567", "name": "Ánh"}
    elif kind == "group":
        made |= {"groupId": f"công-ty-{rng.randrange(5)}", "traits": {"plan": "pro"}}
    elif kind == "alias":
        made["previousId"] = "cookie-1"
    elif kind in ("page", "screen"):
        made["name"] = "Trang chủ"
    else:
        made["properties"] = {
            "call_id": f"c{rng.randrange(99)}", "caller_number": "0901234567", "agent": "lan", "direction": "inbound",
            "disposition": "sold", "scheduled_at": "2025-06-16T10:00:00Z", "note": "gọi lại", "talk_seconds": 12, "wait_seconds": 3,
        }  # fmt: skip
    if rng.random() < 0.2:
        made["identifiers"] = {"email": "an@shop.vn", "device_id": "d-1"}
    return made


def mutated(rng: random.Random, found: Any, times: int | None = None) -> Any:
    """Return a copy of the value in which a few places are changed, removed, doubled or renamed."""
    made = copy.deepcopy(found)
    for _ in range(rng.randint(1, 3) if times is None else times):
        made = _once(rng, made)
    return made


def _once(rng: random.Random, found: Any) -> Any:
    if isinstance(found, dict) and found and rng.random() < 0.95:
        at = rng.choice(list(found))
        action = rng.random()
        if action < 0.15:
            del found[at]
        elif action < 0.3:
            found[name(rng)] = found.pop(at)
        elif action < 0.45:
            found[name(rng)] = value(rng)
        elif action < 0.7 and isinstance(found[at], dict | list):
            found[at] = _once(rng, found[at])
        else:
            found[at] = value(rng)
        return found
    if isinstance(found, list) and found and rng.random() < 0.9:
        at = rng.randrange(len(found))
        found[at] = _once(rng, found[at])
        if rng.random() < 0.1:
            found += found[:3]
        return found
    return value(rng)


def reworded(rng: random.Random, found: Any) -> Any:
    """Return the value with some texts and numbers replaced by others of the same type, so that it mostly still fits its schema."""
    if isinstance(found, dict):
        return {key: reworded(rng, held) for key, held in found.items()}
    if isinstance(found, list):
        return [reworded(rng, held) for held in found]
    if rng.random() > _REWORDED or isinstance(found, bool) or found is None:
        return found
    if isinstance(found, str):
        return rng.choice(_PLAIN)
    return rng.choice([number for number in NUMBERS if type(number) is type(found) and abs(number) < 1e300])


def written(rng: random.Random, found: Any) -> bytes:
    """Return the value as JSON bytes, mostly in UTF-8 and sometimes broken."""
    text = json.dumps(found, ensure_ascii=rng.random() < 0.3)
    encoding = rng.choice(("utf-8",) * 12 + ("utf-16", "utf-32", "utf-8-sig", "latin-1", "utf-7"))
    raw = text.encode(encoding, "surrogatepass" if encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32") else "replace")
    return broken(rng, raw) if rng.random() < 0.15 else raw


def broken(rng: random.Random, raw: bytes) -> bytes:
    """Return the bytes cut off, doubled or partly changed, or other bytes altogether."""
    action = rng.randrange(6)
    if action == 0:
        return raw[: rng.randint(0, len(raw))]
    if action == 1:
        return rng.randbytes(rng.randint(0, 200))
    if action == 2:
        return b"[" * rng.choice((40, _DEEPEST, 200_000 if rng.random() < 0.02 else _DEEPEST))
    if action == 3:
        return raw + raw
    held = bytearray(raw)
    for _ in range(rng.randint(1, 8)):
        if held:
            held[rng.randrange(len(held))] = rng.choice((0, 0x22, 0x5C, 0x7B, 0x7D, 0x80, 0xC0, 0xED, 0xFF, rng.randrange(256)))
    return bytes(held)


def packed(rng: random.Random, raw: bytes) -> tuple[bytes, dict[str, str]]:
    """Return the body as it is sent and its headers.

    Some bodies are declared as gzip but are not compressed, and some are compressed without a header that declares it.
    """
    if rng.random() < 0.75:
        return raw, ({"content-encoding": rng.choice(("gzip", "br", "identity"))} if rng.random() < 0.05 else {})
    zipped = gzip.compress(raw, compresslevel=1)
    if rng.random() < 0.2:
        zipped = broken(rng, zipped)
    return zipped, ({"content-encoding": "gzip"} if rng.random() < 0.8 else {})
