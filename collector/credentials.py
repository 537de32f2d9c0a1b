"""Which source a request comes from."""

import base64
import binascii
from typing import Any

from starlette.datastructures import Headers


def header_key(headers: Headers) -> str | None:
    """The write key of `Authorization: Basic`, where it is the user name."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(token.strip(), validate=True).decode().partition(":")[0]
    except (binascii.Error, ValueError):
        return None


def bearer(headers: Headers) -> str | None:
    """The token of `Authorization: Bearer`."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def body_key(body: Any) -> str | None:
    """The write key that a decoded body names."""
    given = body.get("writeKey") if isinstance(body, dict) else None
    return given if isinstance(given, str) and given else None
