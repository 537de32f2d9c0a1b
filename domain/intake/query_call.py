"""Read a call from the parameters of a URL: for pixels, which can send nothing else. Pure."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from domain.intake.call_fields import is_absent_object
from domain.intake.values import Unparsable, loads
from schemas.write_keys import mask_write_keys

_OBJECT_FIELDS: Final = ("properties", "traits", "context", "identifiers", "integrations")


def call_from_query(query: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the call that a query describes; None when its `data` is not base64 of a JSON object.

    `properties`, `traits` and the like may be JSON objects. A dot leads into them: `properties.total=5` sets `total`. Such values
    stay text, because a query cannot tell a number from a text.
    """
    if (data := query.get("data")) is not None:
        return _decode_data(data)
    call: dict[str, Any] = {}
    for name, value in query.items():
        field, dot, key = name.partition(".")
        if name == "writeKey":
            continue
        if not dot:
            json_object = _json_object(value) if name in _OBJECT_FIELDS else None
            call[name] = value if json_object is None else {**json_object, **call.get(name, {})}
        elif field in _OBJECT_FIELDS and key and isinstance(call.setdefault(field, {}), dict):
            call[field][key] = value
    return call


def query_without_keys(query: str) -> bytes:
    """Return a query without its write key, also without one in the base64 of `data`, as it is kept when it describes no call."""
    pairs = [(name, value) for name, value in parse_qsl(query, keep_blank_values=True) if name != "writeKey"]
    return urlencode([(name, _masked_data(value) if name == "data" else value) for name, value in pairs]).encode()


def _masked_data(data: str) -> str:
    try:
        decoded = _from_base64(data)
    except (binascii.Error, ValueError):
        return data
    masked = mask_write_keys(decoded)
    return data if masked == decoded else base64.b64encode(masked).decode()


def _json_object(value: str) -> dict[str, Any] | None:
    """Return the object that a text is the JSON of, None when it is no such text."""
    try:
        decoded = loads(value.encode())
    except (Unparsable, UnicodeEncodeError):
        return None
    if is_absent_object(decoded):
        return {}
    return decoded if isinstance(decoded, dict) else None


def _decode_data(data: str) -> dict[str, Any] | None:
    try:
        decoded = loads(_from_base64(data))
    except (binascii.Error, ValueError):
        return None
    return decoded if isinstance(decoded, dict) else None


def _from_base64(data: str) -> bytes:
    """Decode base64 as browsers and as URLs write it, with its padding or without. Raises ValueError."""
    padded = data.replace(" ", "+").replace("-", "+").replace("_", "/").rstrip("=")
    return base64.b64decode(padded + "=" * (-len(padded) % 4), validate=True)
