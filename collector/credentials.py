"""Where a request may carry its write key. Each function reads one place and returns None when no key is there."""

import base64
import binascii

from collector.body import DecodedBody
from collector.context import RequestContext


def basic_auth_key(context: RequestContext) -> str | None:
    """Return the user name of `Authorization: Basic`."""
    scheme, _, token = context.request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(token.strip(), validate=True).decode().partition(":")[0]
    except (binascii.Error, ValueError):
        return None


def bearer_key(context: RequestContext) -> str | None:
    """Return the token of `Authorization: Bearer`."""
    scheme, _, token = context.request.headers.get("authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def query_key(context: RequestContext) -> str | None:
    """Return the query parameter `writeKey`."""
    return context.request.query_params.get("writeKey")


def path_key(context: RequestContext) -> str | None:
    """Return the key in the path of analytics.js and its settings."""
    key: str | None = context.request.path_params.get("write_key")
    return key


def body_key(context: RequestContext) -> str | None:
    """Return the field `writeKey` of the decoded body."""
    value = context.body.value if isinstance(context.body, DecodedBody) else None
    write_key = value.get("writeKey") if isinstance(value, dict) else None
    return write_key if isinstance(write_key, str) and write_key else None
