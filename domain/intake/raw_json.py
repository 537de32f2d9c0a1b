"""The bytes of JSON values as they go into quarantine: whole, byte for byte where possible, and never with a write key."""

import json
from typing import Any

import orjson


def without_key(call: dict[str, Any]) -> dict[str, Any]:
    """Return a call or a body without its write key. The key is a secret, and analysts can read the quarantine."""
    return {name: value for name, value in call.items() if name != "writeKey"} if "writeKey" in call else call


def body_without_key(body: Any, raw: bytes) -> bytes:
    """Return the bytes of a decoded body without the write key in it: `raw` itself when the body names no key."""
    if not isinstance(body, dict) or "writeKey" not in body:
        return raw
    try:
        return encode_losslessly(body)
    except RecursionError:
        return raw


def encode_fast(value: Any) -> bytes:
    """Encode a value as JSON as fast as possible. The caller wants to know only how large it is."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return encode_losslessly(value)


def encode_losslessly(value: Any) -> bytes:
    """Encode a value as JSON without its write key, and with everything else as it came.

    orjson refuses NaN, integers beyond 64 bits and lone surrogates. Such values are why a call is in quarantine, so they must
    survive: the standard library writes them. Raises RecursionError when the value is nested too deeply for it.
    """
    if isinstance(value, dict):
        value = without_key(value)
    try:
        return json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # a lone surrogate has no UTF-8: write it as an escape
        return json.dumps(value).encode()
