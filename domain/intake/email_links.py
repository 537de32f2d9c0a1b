"""The signed tokens in the pixel and the links of an e-mail: the recipient, the message, the target of a link. Pure.

A token is base64url of a JSON list, a dot, and base64url of 16 bytes of an HMAC. It is signed, not hidden: name the recipient by
`user_id` or `crm_id` rather than by an address. The sender of e-mails makes tokens with `sign`; the collector verifies them.
"""

import base64
import binascii
import hmac
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import orjson

from domain.identity.namespaces import is_namespace_name
from schemas.hashes import short_hash
from schemas.identifiers import Identifier

VERSION: Final = 1
MAX_TOKEN_CHARS: Final = 4096
MAX_URL_CHARS: Final = 2048
MAX_ID_CHARS: Final = 128
_MAC_BYTES: Final = 16
_PURPOSE: Final = b"onefold e-mail links 1"
_MINUTE_MS: Final = 60_000
_EVENT_NAMES: Final = {"open": "Email Opened", "click": "Email Link Clicked"}


@dataclass(frozen=True, slots=True)
class EmailLink:
    """What a token holds. `identifier` (namespace, value) names the recipient. `url` is the target of a click, "" for a pixel."""

    message_id: str
    identifier: Identifier
    campaign: str
    expires_ms: int
    url: str = ""

    @property
    def kind(self) -> Literal["open", "click"]:
        """Whether a request with this token means an opened e-mail or a clicked link."""
        return "click" if self.url else "open"


def derive_key(tenant_secret: bytes) -> bytes:
    """Derive the key that signs tokens. A token then reveals nothing about the secret with which identifiers are hashed."""
    return hmac.digest(hmac.digest(_PURPOSE, tenant_secret, "sha256"), _PURPOSE + b"\x01", "sha256")


def sign(key: bytes, link: EmailLink) -> str:
    """Return the token of a link. Raises ValueError for an invalid link; the message names the field."""
    if (problem := _find_problem(link)) is not None:
        raise ValueError(problem)
    namespace, value = link.identifier
    payload = orjson.dumps([VERSION, link.message_id, namespace, value, link.campaign, link.expires_ms, link.url])
    token = f"{_encode_base64url(payload)}.{_encode_base64url(_mac(key, payload))}"
    if len(token) > MAX_TOKEN_CHARS:
        raise ValueError(f"the token is longer than {MAX_TOKEN_CHARS} characters: shorten url or campaign")
    return token


def verify(key: bytes, token: str, now_ms: int) -> EmailLink | None:
    """Return the link in a token; None when `key` did not sign it, or the link has expired."""
    if len(token) > MAX_TOKEN_CHARS or not token.isascii():
        return None
    payload, mac = (_decode_base64url(part) for part in (token.partition(".")[0], token.partition(".")[2]))
    if payload is None or mac is None or not hmac.compare_digest(_mac(key, payload), mac):
        return None
    link = _decode_link(payload)
    return link if link is not None and now_ms <= link.expires_ms else None


def build_call(link: EmailLink, now_ms: int, user_agent: str) -> dict[str, Any]:
    """Return the track call of a request with a valid token.

    Its message id is the same for all requests within one minute, so that they count as one event: mail programs often fetch an
    image more than once.
    """
    namespace, value = link.identifier
    properties = {"email_id": link.message_id, "campaign_id": link.campaign, "link_url": link.url}
    campaign = {"name": link.campaign, "medium": "email"} if link.campaign else {}
    url_hash = [short_hash(link.url)] if link.url else []
    return {
        "type": "track",
        "event": _EVENT_NAMES[link.kind],
        "messageId": "-".join((link.message_id, link.kind, *url_hash, str(now_ms // _MINUTE_MS))),
        "identifiers": {namespace: value},
        "properties": {name: text for name, text in properties.items() if text},
        "context": {
            "channel": "email",
            **({"campaign": campaign} if campaign else {}),
            **({"userAgent": user_agent} if user_agent else {}),
        },
    }


def _decode_link(payload: bytes) -> EmailLink | None:
    """Decode and check what was signed. It is checked again because an older version may have signed more."""
    match orjson.loads(payload):
        case [1, str(message_id), str(namespace), str(value), str(campaign), int(expires_ms), str(url)]:
            link = EmailLink(message_id, (namespace, value), campaign, expires_ms, url)
            return link if _find_problem(link) is None else None
    return None


def _find_problem(link: EmailLink) -> str | None:
    namespace, value = link.identifier
    if not 0 < len(link.message_id) <= MAX_ID_CHARS:
        return f"message_id must have 1 to {MAX_ID_CHARS} characters"
    # Whoever signs a link does not know the identity rules, which may declare any name.
    if not is_namespace_name(namespace) or not value:
        return "identifier must be a namespace, such as user_id, and a value that is not empty"
    if len(link.campaign) > MAX_ID_CHARS:
        return f"campaign must have at most {MAX_ID_CHARS} characters"
    return _find_url_problem(link.url) if link.url else None


def _find_url_problem(url: str) -> str | None:
    """Return why a URL cannot be a target. Only whole web addresses can: nothing that a browser runs or resolves against ours."""
    if len(url) > MAX_URL_CHARS or not url.isascii() or any(letter <= " " or letter in '\\"<>\x7f' for letter in url):
        return f"url must be ASCII (percent-encoded), without blanks and backslashes, at most {MAX_URL_CHARS} characters"
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return "url is not a URL"
    if parts.scheme not in ("http", "https") or not host or parts.username is not None:
        return "url must begin with https:// or http:// and a host, without a user name"
    return None


def _mac(key: bytes, payload: bytes) -> bytes:
    return hmac.digest(key, payload, "sha256")[:_MAC_BYTES]


def _encode_base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode_base64url(text: str) -> bytes | None:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
