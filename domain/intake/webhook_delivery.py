"""Decide what becomes of one delivery of a webhook: all of its events, or one quarantine record that holds the payload whole.

A delivery is never kept in part. The other system sends it again as a whole, and its operator can repair the mapping and replay it
as a whole. Pure.
"""

from hashlib import blake2b
from typing import Any, Final

from domain.intake.context import IntakeContext
from domain.intake.decide_calls import CallIntake, IntakeOutcome
from domain.intake.envelope import single_calls
from domain.intake.rejection import BodyProblem, Rejection
from domain.intake.webhook_mapping import map_payload
from domain.intake.webhook_spec import MappingSpec
from schemas.events import CALL_TYPES
from schemas.reasons import Reason

WEBHOOK_ID_PREFIX: Final = "webhook-"
"""Begins the id of a quarantined delivery, behind the stage. A replay must map such a record again, not read it as a call."""


def decide_delivery(
    intake: CallIntake,
    mapping: MappingSpec,
    payload: Any,
    raw: bytes,
    intake_context: IntakeContext,
    delivery_id: str = "",
) -> IntakeOutcome:
    """Return the events of a decoded payload, nothing if the mapping ignores it, or one quarantine record with `raw`, its bytes.

    An event without a message id of its own gets one made of `delivery_id`, the sender's id of the delivery, or else of `raw`: a
    delivery that is sent again makes duplicates.
    """
    content_hash = blake2b(raw, digest_size=16, person=b"webhook").hexdigest()

    def reject(rejection: Rejection) -> IntakeOutcome:
        return intake.reject_whole(raw, rejection, intake_context, f"{WEBHOOK_ID_PREFIX}{content_hash}")

    mapped = map_payload(mapping, payload, intake.limits.max_batch_events)
    if isinstance(mapped, Rejection):
        return reject(mapped)
    for index, call in enumerate(mapped):
        if not call.get("messageId") and not _has_call_id(call):
            call["messageId"] = f"{intake_context.source}-{delivery_id or content_hash}-{index}"
    outcome = intake.decide(single_calls(mapped), intake_context)
    if isinstance(outcome, BodyProblem):
        return reject(Rejection(Reason.TOO_LARGE, "maps to more than a batch may hold"))
    if outcome.rejections:
        first = outcome.rejections[0]
        return reject(Rejection(Reason(first["reason"]), f"event {first['index']} of its mapping cannot be kept", first["path"]))
    return outcome


def _has_call_id(call: dict[str, Any]) -> bool:
    """Return whether intake makes the message id of the call's own call id: the id of a call in a call centre."""
    properties = call.get("properties")
    return (
        call["type"] in CALL_TYPES and isinstance(properties, dict) and bool(properties.get("call_id") or properties.get("callId"))
    )
