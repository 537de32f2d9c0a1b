"""Verify that Twilio signed a request with the auth token of an account. Pure; signatures are compared in constant time.

Twilio signs its view of the address, followed by the fields of the form: sorted by name, each name before its value, with nothing
between. For a body that is no form, the address has the parameter `bodySHA256` instead, which stands for the body.

Example: https://cdp.shop.vn/v1/webhook/twilio with the form `To=%2B84901&From=%2B84912` is signed as
`https://cdp.shop.vn/v1/webhook/twilioFrom+84912To+84901`.
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from urllib.parse import parse_qs, parse_qsl, urlsplit, urlunsplit

_DEFAULT_PORTS = {"https": 443, "http": 80}
_MAX_FORM_FIELDS = 1000


def is_signed_by_twilio(secrets: Sequence[str], signature: str, url: str, body: bytes) -> bool:
    """Return whether one of the auth tokens signed this address and body."""
    fields = _signed_fields(url, body)
    if fields is None or not signature:
        return False
    received = signature.encode("latin-1", "replace")
    is_valid = False
    for secret in secrets:
        for address in _spellings(url):
            # SHA-1 is Twilio's choice. It holds as a keyed hash: collisions, its weakness, do not help without the key.
            digest = hmac.new(secret.encode(), f"{address}{fields}".encode("utf-8", "surrogatepass"), "sha1").digest()
            is_valid |= hmac.compare_digest(base64.b64encode(digest), received)
    return is_valid


def _signed_fields(url: str, body: bytes) -> str | None:
    """Return what the signature covers behind the address; None when the body is not the one that the address stands for."""
    body_hash = parse_qs(urlsplit(url).query).get("bodySHA256")
    if body_hash is not None:
        is_same = hmac.compare_digest(hashlib.sha256(body).hexdigest().encode(), body_hash[0].lower().encode("utf-8", "replace"))
        return "" if is_same else None
    try:
        pairs = set(parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MAX_FORM_FIELDS))
    except ValueError:
        return None
    return "".join(name + value for name, value in sorted(pairs))


def _spellings(url: str) -> tuple[str, ...]:
    """Return the address with and without a port: Twilio's products differ in what they sign."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        return (url,)
    default = _DEFAULT_PORTS.get(parts.scheme)
    if port is None:
        other = parts._replace(netloc=f"{parts.netloc}:{default}")
    else:
        other = parts._replace(netloc=parts.netloc.removesuffix(f":{port}"))
    return url, urlunsplit(other)
