"""Decide what becomes of one delivery of a webhook: all of its events, or one quarantine record that holds the payload whole.

A delivery is never kept in part. The other system sends it again as a whole, and its operator can repair the mapping and replay it
as a whole. Pure.
"""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final
from urllib.parse import parse_qsl

from domain.fields import StrictModel
from domain.intake.context import IntakeContext
from domain.intake.decide_calls import CallIntake, IntakeOutcome
from domain.intake.envelope import single_calls
from domain.intake.raw_json import encode_losslessly
from domain.intake.rejection import BODY_REJECTIONS, BodyProblem, Rejection
from domain.intake.values import Unparsable, loads, text_of
from domain.intake.webhook_mapping import WebhookDelivery, map_delivery
from domain.intake.webhook_spec import MappingSpec, path_root, path_steps
from schemas.events import CALL_TYPES
from schemas.reasons import Reason

WEBHOOK_ID_PREFIX: Final = "webhook-"
"""Begins the id of a quarantined delivery, behind the stage. A replay must map such a record again, not read it as a call."""
REQUEST_ID_PREFIX: Final = f"{WEBHOOK_ID_PREFIX}request-"
"""Begins the id of a quarantined delivery whose record holds, beside the payload, what the mapping reads of the request."""
MAX_FORM_FIELDS: Final = 1000
_NOT_FIRST_OF_FORM: Final = frozenset('[]{}"<>=&')
"""How JSON that was cut off begins, and no form does."""


def decode_payload(content: bytes) -> tuple[Any, bytes]:
    """Return the payload of a body that is JSON or a form, and the bytes of JSON that stand for it. Raises Unparsable.

    The content decides and no header does, since senders declare JSON as a form and forms as nothing. The fields of a form become
    an object of texts, a field that comes more than once a list. An empty field is null, as forms know no other way to say it.
    """
    try:
        return loads(content), content
    except Unparsable:
        payload = decode_form(content)
        return payload, encode_losslessly(payload)


def decode_form(content: bytes) -> dict[str, Any]:
    """Return the fields of a form (`application/x-www-form-urlencoded`, in UTF-8). Raises Unparsable."""
    try:
        text = content.decode("utf-8-sig")
        name, equals, _ = text.partition("=")
        if not equals or not name or name[0].isspace() or name[0] in _NOT_FIRST_OF_FORM or "&" in name:
            raise Unparsable("neither JSON nor a form")
        pairs = parse_qsl(text.strip(), keep_blank_values=True, errors="strict", max_num_fields=MAX_FORM_FIELDS)
    except ValueError as error:
        raise Unparsable(type(error).__name__) from None
    fields: dict[str, Any] = {}
    for name, value in pairs:
        content_value = value or None
        if name not in fields:
            fields[name] = content_value
        elif isinstance(fields[name], list):
            fields[name].append(content_value)
        else:
            fields[name] = [fields[name], content_value]
    return fields


def decide_delivery(
    intake: CallIntake, mapping: MappingSpec, delivery: WebhookDelivery, intake_context: IntakeContext
) -> IntakeOutcome:
    """Return the events of a delivery, nothing if the mapping ignores it, or one quarantine record with all that the mapping reads.

    An event without a message id of its own gets one made of the sender's id of the delivery, or else of its bytes: a delivery that
    is sent again makes duplicates.
    """
    content_hash = _content_hash(delivery.raw)
    delivery_id = delivery.id or content_hash

    def reject(rejection: Rejection) -> IntakeOutcome:
        headers, query = (_read_fields(mapping, root, fields) for root, fields in _request_fields(delivery))
        if not headers and not query:
            return intake.reject_whole(delivery.raw, rejection, intake_context, f"{WEBHOOK_ID_PREFIX}{content_hash}")
        request = {"body": delivery.payload, "headers": headers, "query": query, "id": delivery_id}
        return intake.reject_whole(encode_losslessly(request), rejection, intake_context, f"{REQUEST_ID_PREFIX}{content_hash}")

    mapped = map_delivery(mapping, delivery, intake.limits.max_batch_events, intake.limits.max_body_bytes)
    if isinstance(mapped, Rejection):
        return reject(mapped)
    for index, call in enumerate(mapped):
        if not call.get("messageId") and not _has_call_id(call):
            call["messageId"] = f"{intake_context.source}-{delivery_id}-{index}"
    outcome = intake.decide(single_calls(mapped), intake_context)
    if isinstance(outcome, BodyProblem):
        return reject(Rejection(Reason.TOO_LARGE, "maps to more than a batch may hold"))
    if outcome.rejections:
        first = outcome.rejections[0]
        return reject(Rejection(Reason(first["reason"]), f"event {first['index']} of its mapping cannot be kept", first["path"]))
    return outcome


def reject_unreadable(intake: CallIntake, content: bytes, intake_context: IntakeContext) -> IntakeOutcome:
    """Return the outcome of a body that is neither JSON nor a form: one quarantine record, which a repaired body can replace."""
    rejection = BODY_REJECTIONS[BodyProblem.UNPARSABLE]
    return intake.reject_whole(content, rejection, intake_context, f"{WEBHOOK_ID_PREFIX}{_content_hash(content)}")


def stored_delivery(record_id_suffix: str, raw: bytes) -> WebhookDelivery:
    """Return the delivery that a quarantine record holds; `record_id_suffix` is its id behind the stage. Raises Unparsable."""
    payload, content = decode_payload(raw)
    if not record_id_suffix.startswith(REQUEST_ID_PREFIX):
        return WebhookDelivery(payload, content)
    if not isinstance(payload, dict) or "body" not in payload:
        raise Unparsable("not an object with the body of a request")
    headers, query = (fields if isinstance(fields := payload.get(name), dict) else {} for name in ("headers", "query"))
    delivery_id = text_of(payload.get("id")) or ""
    return WebhookDelivery(payload["body"], encode_losslessly(payload["body"]), headers, query, delivery_id)


def _content_hash(content: bytes) -> str:
    return blake2b(content, digest_size=16, person=b"webhook").hexdigest()


def _request_fields(delivery: WebhookDelivery) -> tuple[tuple[str, Mapping[str, str]], tuple[str, Mapping[str, str]]]:
    return ("$headers", delivery.headers), ("$query", delivery.query)


def _read_fields(mapping: MappingSpec, root: str, fields: Mapping[str, str]) -> dict[str, str]:
    """Return the headers or parameters that the mapping reads, as far as the request has them."""
    names = {str(path_steps(path)[0]) for path in _texts(mapping) if _begins_at(path, root)}
    return {name: fields[name] for name in sorted(names) if name in fields}


def _begins_at(path: str, root: str) -> bool:
    return path.startswith(root) and path_root(path) == root and len(path_steps(path)) == 1


def _texts(value: Any) -> list[str]:
    """Return every text of a mapping, its paths among them."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, StrictModel):
        return [text for name in type(value).model_fields for text in _texts(getattr(value, name))]
    if isinstance(value, dict):
        return [text for key, inner in value.items() for text in (*_texts(key), *_texts(inner))]
    return [text for item in value for text in _texts(item)] if isinstance(value, list | tuple) else []


def _has_call_id(call: dict[str, Any]) -> bool:
    """Return whether intake makes the message id of the call's own call id: the id of a call in a call centre."""
    properties = call.get("properties")
    return (
        call["type"] in CALL_TYPES and isinstance(properties, dict) and bool(properties.get("call_id") or properties.get("callId"))
    )
