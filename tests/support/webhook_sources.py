"""Sources with a webhook: an order system's and a CTI's, as the documentation shows them."""

import hmac
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from standardwebhooks.webhooks import Webhook

from domain.definitions.kinds import Source, load_yaml

PAGE = Path(__file__).parents[2] / "docs" / "touchpoints.md"


def documented_blocks(kind: str) -> list[str]:
    """Return the code blocks of a kind on the documentation's page."""
    return re.findall(rf"```{kind}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


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
