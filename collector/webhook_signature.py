"""Verify that a webhook was signed with a secret of its source, and recently. Pure; signatures are compared in constant time.

The invariant: a recorded delivery does not count a second time. Its signed time bounds how long the signature is accepted
(`tolerance_s`, 300 s by default), and within that time the cache of taken deliveries recognises it: the repetition is answered as
the first delivery was, and publishes nothing. A signature without a time can be repeated for ever, and another collector process
has another cache; then the message ids of its events make a second delivery a duplicate.
"""

import base64
import binascii
import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook

from collector.problems import Problem
from collector.twilio_signature import is_signed_by_twilio
from domain.instants import instant_ms
from domain.intake.webhook_spec import AnySignature, HmacSignature, StandardSignature, TokenSignature, TwilioSignature
from runtime.errors import Misconfigured

MAX_REMEMBERED: Final = 100_000
_MAX_ID_CHARS: Final = 128
_STANDARD_NAMES: Final = ("webhook", "svix")
"""How the headers of Standard Webhooks begin. Svix sends under its own name what became the standard."""


@dataclass(frozen=True, slots=True)
class Proof:
    """A valid signature. `id` is the sender's id of the delivery, or "". It is `replayable` when no time was signed."""

    digest: bytes
    id: str = ""
    replayable: bool = False


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """What signatures are made of. `headers` must be found by names in small letters; `url` is the address as the client has it."""

    headers: Mapping[str, str]
    body: bytes
    url: str = ""
    query: Mapping[str, str] = field(default_factory=dict)


def verify_signature(spec: AnySignature, secrets: Sequence[str], request: SignedRequest, now_ms: int) -> Proof | Problem:
    """Return the proof that who sent the request has one of `secrets`, or the problem with the signature.

    Raises Misconfigured when a secret does not have the form of its scheme.
    """
    match spec:
        case StandardSignature():
            return _verify_standard(spec, secrets, request, now_ms)
        case HmacSignature():
            return _verify_hmac(spec, secrets, request, now_ms)
        case TwilioSignature():
            signature = request.headers.get("x-twilio-signature", "").strip()
            is_valid = is_signed_by_twilio(secrets, signature, spec.url or request.url, request.body)
            return Proof(signature.encode(), replayable=True) if is_valid else Problem.SIGNATURE
        case TokenSignature():
            return _verify_token(spec, secrets, request)


def _verify_token(spec: TokenSignature, secrets: Sequence[str], request: SignedRequest) -> Proof | Problem:
    """Return a proof that says nothing of the body: the same token comes with every request."""
    if spec.query is not None:
        token = request.query.get(spec.query, "").encode("utf-8", "replace")
    elif spec.basic:
        scheme, _, credentials = request.headers.get("authorization", "").strip().partition(" ")
        token = _basic_password(credentials) if scheme.lower() == "basic" else b""
    else:
        # A server reads the bytes of a header as Latin-1, whatever the sender meant by them.
        header = request.headers.get((spec.header or "").lower(), "").strip().encode("latin-1", "replace")
        prefix = spec.prefix.encode()
        token = header[len(prefix) :] if header.startswith(prefix) else b""
    is_valid = False
    for secret in secrets:
        is_valid |= hmac.compare_digest(secret.encode(), token)
    if not is_valid:
        return Problem.SIGNATURE
    return Proof(hashlib.blake2b(request.body, digest_size=16).digest(), replayable=True)


def _basic_password(credentials: str) -> bytes:
    try:
        return base64.b64decode(credentials.strip(), validate=True).partition(b":")[2]
    except ValueError:  # binascii.Error is one
        return b""


def _verify_standard(spec: StandardSignature, secrets: Sequence[str], request: SignedRequest, now_ms: int) -> Proof | Problem:
    headers, body = request.headers, request.body
    # The three headers of one name belong together: an id of one and a signature of the other prove nothing.
    name = next((name for name in _STANDARD_NAMES if f"{name}-id" in headers), "webhook")
    message_id, timestamp = headers.get(f"{name}-id", ""), headers.get(f"{name}-timestamp", "")
    if (
        not message_id
        or len(message_id) > _MAX_ID_CHARS
        or not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 11)
    ):
        return Problem.SIGNATURE
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return Problem.SIGNATURE
    signatures = [signature.encode("latin-1", "replace") for signature in headers.get(f"{name}-signature", "").split()]
    is_valid = False
    for secret in secrets:
        try:
            expected = Webhook(secret).sign(message_id, datetime.fromtimestamp(int(timestamp), UTC), text).encode()
        except (EmptyWebhookSecretError, binascii.Error, ValueError) as error:
            raise Misconfigured("a secret of Standard Webhooks is `whsec_` followed by base64") from error
        for signature in signatures:
            is_valid |= hmac.compare_digest(expected, signature)
    if not is_valid:
        return Problem.SIGNATURE
    if _is_stale(int(timestamp) * 1000, now_ms, spec.tolerance_s):
        return Problem.STALE
    return Proof(hashlib.blake2b(f"{message_id} {timestamp}".encode() + body, digest_size=16).digest(), message_id)


def _verify_hmac(spec: HmacSignature, secrets: Sequence[str], request: SignedRequest, now_ms: int) -> Proof | Problem:
    headers, body = request.headers, request.body
    timestamp = "" if spec.timestamp_header is None else headers.get(spec.timestamp_header.lower(), "").strip()
    signature = headers.get(spec.header.lower(), "").strip().encode("latin-1", "replace")
    # Some senders write the prefix and some do not, whatever they document. The signature proves the same without it.
    signature = signature.removeprefix(spec.prefix.encode())
    if not signature:
        return Problem.SIGNATURE
    if spec.encoding == "hex":
        signature = signature.lower()
    # Split the template before the timestamp is filled in: the header may contain `{body}` itself.
    prefix_bytes, suffix_bytes = (
        part.replace("{timestamp}", timestamp).encode("utf-8", "replace") for part in spec.template.split("{body}")
    )
    is_valid = False
    for secret in secrets:
        digest = hmac.new(_key_of(spec, secret), prefix_bytes + body + suffix_bytes, spec.algorithm).digest()
        expected = digest.hex().encode() if spec.encoding == "hex" else base64.b64encode(digest)
        is_valid |= hmac.compare_digest(expected, signature)
    if not is_valid:
        return Problem.SIGNATURE
    if spec.timestamp_header is None:
        return Proof(signature, replayable=True)
    at_ms = instant_ms(timestamp)
    if at_ms is None or _is_stale(at_ms, now_ms, spec.tolerance_s):
        return Problem.STALE
    return Proof(signature)


def _key_of(spec: HmacSignature, secret: str) -> bytes:
    try:
        match spec.key_encoding:
            case "text":
                return secret.encode()
            case "hex":
                return bytes.fromhex(secret)
            case "base64":
                return base64.b64decode(secret, validate=True)
    except ValueError as error:  # binascii.Error is one
        raise Misconfigured(f"the secret is not written in {spec.key_encoding}, as key_encoding declares") from error


def _is_stale(at_ms: int, now_ms: int, tolerance_s: int) -> bool:
    return abs(now_ms - at_ms) > tolerance_s * 1000


class ReplayCache:
    """Remembers the deliveries that were taken, for as long as their signed time would still be accepted."""

    def __init__(self, max_entries: int = MAX_REMEMBERED) -> None:
        self._max_entries = max_entries
        self._expiry_by_delivery: OrderedDict[tuple[str, bytes], int] = OrderedDict()

    def has(self, source: str, proof: Proof, now_ms: int) -> bool:
        """Return whether the delivery was taken and its signature would still be accepted."""
        return not proof.replayable and self._expiry_by_delivery.get((source, proof.digest), -1) >= now_ms

    def add(self, source: str, proof: Proof, until_ms: int) -> None:
        """Remember a delivery until `until_ms`. When there are too many, the oldest are forgotten first."""
        if proof.replayable:
            return
        self._expiry_by_delivery[(source, proof.digest)] = until_ms
        while len(self._expiry_by_delivery) > self._max_entries:
            self._expiry_by_delivery.popitem(last=False)
