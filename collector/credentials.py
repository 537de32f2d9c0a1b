"""Which source a request comes from."""

import base64
import binascii
from typing import Any

from starlette.datastructures import Headers


def basic_auth_key(headers: Headers) -> str | None:
    """The write key of `Authorization: Basic`, where it is the user name."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(token.strip(), validate=True).decode().partition(":")[0]
    except (binascii.Error, ValueError):
        return None


def bearer_token(headers: Headers) -> str | None:
    """The token of `Authorization: Bearer`."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def body_write_key(body: Any) -> str | None:
    """The write key that a decoded body names."""
    write_key = body.get("writeKey") if isinstance(body, dict) else None
    return write_key if isinstance(write_key, str) and write_key else None
