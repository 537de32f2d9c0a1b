"""Sources with a webhook: an order system's and a CTI's, as the documentation shows them."""

import base64
import hashlib
import hmac
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from standardwebhooks.webhooks import Webhook

from domain.definitions.kinds import Source, load_yaml
from domain.intake.webhook_spec import HmacSignature, TokenSignature, TwilioSignature
from ops.webhooks.catalogue import SampleRequest, definition_of

PAGE = Path(__file__).parents[2] / "docs" / "touchpoints.md"


def documented_blocks(kind: str) -> list[str]:
    """Return the code blocks of a kind on the documentation's page."""
    return re.findall(rf"```{kind}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def documented_payload(field: str, value: str) -> Any:
    """Return the payload on the documentation's page that has this value."""
    payloads = [json.loads(text) for text in documented_blocks("json")]
    return next(payload for payload in payloads if isinstance(payload, dict) and payload.get(field) == value)


def documented_source(name: str) -> Source:
    """Return the Source of that name on the documentation's page."""
    for text in documented_blocks("yaml"):
        if text.startswith("apiVersion"):
            for definition in load_yaml(text, "docs/touchpoints.md"):
                if isinstance(definition, Source) and definition.metadata.name == name:
                    return definition
    raise LookupError(name)


def with_secret(source: Source, **changed: Any) -> Source:
    """Return the source with these fields of its signature changed."""
    webhook = source.spec.webhook
    assert webhook is not None
    signature = webhook.signature.model_copy(update=changed)
    spec = source.spec.model_copy(update={"webhook": webhook.model_copy(update={"signature": signature})})
    return source.model_copy(update={"spec": spec})


def hmac_headers(secret: str, body: bytes, at_s: int) -> dict[str, str]:
    """Return the headers with which the documentation's CTI signs a request."""
    signed = f"{at_s}.".encode() + body
    return {"X-CTI-Timestamp": str(at_s), "X-CTI-Signature": "sha256=" + hmac.new(secret.encode(), signed, "sha256").hexdigest()}


def standard_headers(secret: str, body: bytes, at_s: int, delivery_id: str = "msg_1") -> dict[str, str]:
    """Return the headers of Standard Webhooks."""
    signature = Webhook(secret).sign(delivery_id, datetime.fromtimestamp(at_s, UTC), body.decode())
    return {"webhook-id": delivery_id, "webhook-timestamp": str(at_s), "webhook-signature": signature}


def shipped_source(name: str) -> Source:
    """Return a shipped Source."""
    (definition,) = load_yaml(definition_of(name), name)
    assert isinstance(definition, Source)
    return definition


def twilio_signature(token: str, url: str, body: bytes) -> str:
    """Return the signature of a form, written down anew from Twilio's description."""
    fields = "".join(f"{name}{value}" for name, value in sorted(parse_qsl(body.decode(), keep_blank_values=True)))
    return base64.b64encode(hmac.new(token.encode(), (url + fields).encode(), hashlib.sha1).digest()).decode()


def signed_headers(source: Source, sample: SampleRequest, secret: str, base_url: str) -> dict[str, str]:
    """Return the headers of a sample, with the signature that its Source asks for."""
    assert source.spec.webhook is not None
    headers = dict(sample.headers)
    match source.spec.webhook.signature:
        case TwilioSignature():
            headers["X-Twilio-Signature"] = twilio_signature(secret, base_url + sample.target, sample.body)
        case HmacSignature() as scheme:
            digest = hmac.new(secret.encode(), sample.body, scheme.algorithm).digest()
            encoded = digest.hex() if scheme.encoding == "hex" else base64.b64encode(digest).decode()
            headers[scheme.header] = scheme.prefix + encoded
        case TokenSignature() as scheme if scheme.header is not None:
            headers[scheme.header] = scheme.prefix + secret
    return headers


def signed_target(source: Source, sample: SampleRequest, secret: str) -> str:
    """Return path and query of a sample, with the secret that the address carries if the Source reads it there."""
    assert source.spec.webhook is not None
    scheme = source.spec.webhook.signature
    return sample.target.replace("THE-SECRET", secret) if isinstance(scheme, TokenSignature) and scheme.query else sample.target
