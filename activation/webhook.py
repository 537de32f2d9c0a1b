"""The webhook channel: posts signed messages by Standard Webhooks 1.0, https://www.standardwebhooks.com."""

import asyncio
import binascii
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import httpx
from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook

from activation.address_guard import Refused, Resolve, choose_address, resolve
from activation.port import AttemptResult, Message, Ok, ReceiverGone, Reject, Retry
from domain.definitions.destinations import unsafe_url_faults
from domain.definitions.kinds import DestinationSpec
from runtime.clock import Clock
from runtime.errors import Misconfigured, Transient

TIMEOUT_S: Final = 15.0
_REJECTING_STATUSES: Final = frozenset({413, 422})
"""The statuses that say of this very message that it will never be taken: too large, or not to be processed as it is. Every other
refusal may be a mistake at the receiver that somebody corrects: a wrong path, an expired password, a secret rotated there first."""
_READ_BYTES: Final = 64 * 1024
_MIN_SECRET_BYTES: Final = 16


class WebhookChannel:
    """Posts messages to one URL. Follows no redirect, uses no proxy, and connects to the very address that was checked.

    Raises Misconfigured for a secret that is none, and for a URL that `onefold apply` would have refused: whoever may write to the
    topic of definitions can write one past it.
    """

    def __init__(
        self, spec: DestinationSpec, secret: str, clock: Clock, *, resolver: Resolve = resolve, timeout_s: float = TIMEOUT_S
    ) -> None:
        if faults := list(unsafe_url_faults(spec)):
            raise Misconfigured(f"the destination's {faults[0]}")
        self._url = httpx.URL(str(spec.url))
        self._allow_private = spec.allow_private_addresses
        self._clock = clock
        self._resolver = resolver
        self._timeout_s = timeout_s
        self._signers = build_signers(secret)
        limits = httpx.Limits(max_connections=spec.concurrency, max_keepalive_connections=spec.concurrency)
        self._client = httpx.AsyncClient(timeout=timeout_s, limits=limits, follow_redirects=False, trust_env=False)

    async def deliver(self, message: Message) -> AttemptResult:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._attempt(message)
        except TimeoutError:
            return Retry(0, f"no answer within {self._timeout_s:g} s")
        except (Refused, Transient) as error:  # a refused address is put right in the DNS or in the definition
            return Retry(0, str(error))
        except httpx.TransportError as error:
            return Retry(0, type(error).__name__)

    async def _attempt(self, message: Message) -> AttemptResult:
        host, port = self._url.raw_host.decode("ascii"), self._url.port or (443 if self._url.scheme == "https" else 80)
        address = await choose_address(host, port, self._resolver, allow_private=self._allow_private)
        now_ms = self._clock.now_ms()
        request = self._client.build_request(
            "POST",
            self._url.copy_with(host=address),
            content=message.body,
            headers=self._headers(message, now_ms),
            extensions={"sni_hostname": host},  # the certificate must be the name's, whatever address was dialled
        )
        response = await self._client.send(request, stream=True)
        try:
            bytes_read = 0
            async for chunk in response.aiter_raw():  # a short answer is read, so that the connection can be used again
                bytes_read += len(chunk)
                if bytes_read > _READ_BYTES:
                    break
        finally:
            await response.aclose()
        return classify(response.status_code, response.headers.get("retry-after"), now_ms)

    def _headers(self, message: Message, now_ms: int) -> dict[str, str]:
        sent_at = datetime.fromtimestamp(now_ms // 1000, tz=UTC)
        return {
            "host": self._url.netloc.decode("ascii"),
            "content-type": "application/json",
            "user-agent": "Onefold",
            "webhook-id": message.key,
            "webhook-timestamp": str(now_ms // 1000),
            "webhook-signature": " ".join(signer.sign(message.key, sent_at, message.body.decode()) for signer in self._signers),
        }

    async def aclose(self) -> None:
        await self._client.aclose()


def build_signers(secrets: str) -> list[Webhook]:
    """Return a signer for each of the secrets, which white space separates: a message of a rotation is signed with both.

    Raises Misconfigured when there is none, or one is not `whsec_<base64>`.
    """
    if not secrets.split():
        raise Misconfigured("the destination's secret is empty: write whsec_ and base64 of at least 16 bytes")
    return [build_signer(secret) for secret in secrets.split()]


def build_signer(secret: str) -> Webhook:
    """Return the signer for a secret `whsec_<base64>`. Raises Misconfigured, without quoting the secret, when it is not one."""
    try:
        if not secret.startswith("whsec_") or len(binascii.a2b_base64(secret[6:] + "==")) < _MIN_SECRET_BYTES:
            raise Misconfigured("the destination's secret is not whsec_ and base64 of at least 16 bytes: make a new one")
        return Webhook(secret)
    except (binascii.Error, ValueError, EmptyWebhookSecretError):
        raise Misconfigured("the destination's secret is not whsec_ and base64: make a new one") from None


def classify(status: int, retry_after: str | None, now_ms: int) -> AttemptResult:
    """Return the result that an HTTP status stands for. Pure; no other place decides that."""
    detail = f"HTTP {status}"
    if 200 <= status < 300:
        return Ok(status)
    if status == 410:
        return ReceiverGone(status, detail)
    if status in _REJECTING_STATUSES:
        return Reject(status, detail)
    return Retry(status, detail, retry_after_ms(retry_after, now_ms))


def retry_after_ms(header: str | None, now_ms: int) -> int | None:
    """Return the wait in ms that a Retry-After header (seconds or an HTTP date) asks for; None when absent or invalid."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return int(text[:9]) * 1000
    try:
        retry_at = parsedate_to_datetime(text)
    except ValueError:
        return None
    at_ms = int((retry_at if retry_at.tzinfo else retry_at.replace(tzinfo=UTC)).timestamp() * 1000)
    return max(at_ms - now_ms, 0)
