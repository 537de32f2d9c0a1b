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
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook

from collector.problems import Problem
from domain.instants import instant_ms
from domain.intake.webhook_spec import HmacSignature, StandardSignature
from runtime.errors import Misconfigured

MAX_REMEMBERED: Final = 100_000
_MAX_ID_CHARS: Final = 128


@dataclass(frozen=True, slots=True)
class Proof:
    """A valid signature. `id` is the sender's id of the delivery, or "". It is `replayable` when no time was signed."""

    digest: bytes
    id: str = ""
    replayable: bool = False


def verify_signature(
    spec: StandardSignature | HmacSignature, secrets: Sequence[str], headers: Mapping[str, str], body: bytes, now_ms: int
) -> Proof | Problem:
    """Return the proof that one of `secrets` signed `body` with these headers, or the problem with the signature.

    `headers` must be found by names in small letters. Raises Misconfigured when a secret does not have the form of its scheme.
    """
    if isinstance(spec, StandardSignature):
        return _verify_standard(spec, secrets, headers, body, now_ms)
    return _verify_hmac(spec, secrets, headers, body, now_ms)


def _verify_standard(
    spec: StandardSignature, secrets: Sequence[str], headers: Mapping[str, str], body: bytes, now_ms: int
) -> Proof | Problem:
    message_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
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
    signatures = [signature.encode("latin-1", "replace") for signature in headers.get("webhook-signature", "").split()]
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


def _verify_hmac(
    spec: HmacSignature, secrets: Sequence[str], headers: Mapping[str, str], body: bytes, now_ms: int
) -> Proof | Problem:
    timestamp = "" if spec.timestamp_header is None else headers.get(spec.timestamp_header.lower(), "").strip()
    signature = headers.get(spec.header.lower(), "").strip().encode("latin-1", "replace")
    prefix = spec.prefix.encode()
    if not signature.startswith(prefix) or len(signature) == len(prefix):
        return Problem.SIGNATURE
    signature = signature[len(prefix) :]
    if spec.encoding == "hex":
        signature = signature.lower()
    # Split the template before the timestamp is filled in: the header may contain `{body}` itself.
    prefix_bytes, suffix_bytes = (
        part.replace("{timestamp}", timestamp).encode("utf-8", "replace") for part in spec.template.split("{body}")
    )
    is_valid = False
    for secret in secrets:
        digest = hmac.new(secret.encode(), prefix_bytes + body + suffix_bytes, spec.algorithm).digest()
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
