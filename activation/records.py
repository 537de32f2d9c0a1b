"""What activation says: deliveries, and what it could not read. Pure."""

import base64

from activation.port import Message
from runtime.bus.port import Outgoing, Record
from runtime.settings import Settings
from schemas.codec import Undecodable, encode
from schemas.records import Delivery, DeliveryState, Quarantined, Transition


def delivery(
    transition: Transition, message: Message, destination: str, state: DeliveryState, verdict: str, *,
    at_ms: int, attempts: int = 0, status: int = 0, detail: str = "",
) -> Delivery:  # fmt: skip
    """The record of what became of a message."""
    return Delivery(
        key=message.key,
        destination=destination,
        profile_id=transition.profile_id,
        segment=transition.segment,
        op=transition.op,
        seq=transition.seq,
        state=state,
        verdict=verdict,
        attempts=attempts,
        status=status,
        detail=detail,
        transition_ms=transition.at_ms,
        at_ms=at_ms,
    )


def outgoing(settings: Settings, said: Delivery) -> Outgoing:
    """The delivery as it goes to its topic."""
    return Outgoing(settings.topic("deliveries"), encode(said), key=said.profile_id.encode())


def quarantined(settings: Settings, record: Record, error: Undecodable, destination: str, now_ms: int) -> Outgoing:
    """A record of `memberships` that is none, whole; it was no accepted event, so it is not counted."""
    held = Quarantined(
        id=f"activation-{destination}-{record.topic}-{record.partition}-{record.offset}",
        stage="activation",
        reason=error.reason,
        detail=error.detail,
        source="",
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        raw=base64.b64encode(record.value or b"").decode(),
        at_ms=now_ms,
        counted=False,
    )
    return Outgoing(settings.topic("quarantine"), encode(held))
