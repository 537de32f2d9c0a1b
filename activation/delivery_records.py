"""What activation says: deliveries, and what it could not read. Pure."""

from activation.port import Message
from runtime.bus.port import Outgoing, Record
from runtime.settings import Settings
from schemas.codec import Undecodable, encode
from schemas.quarantine import quarantined as of_record
from schemas.records import Delivery, DeliveryState, Transition


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
    place = (record.topic, record.partition, record.offset)
    held = of_record(
        "activation", place, record.value, error.reason, error.detail, at_ms=now_ms, counted=False, by=f"activation-{destination}"
    )
    return Outgoing(settings.topic("quarantine"), encode(held))
