"""The records that activation publishes: deliveries, and records of `memberships` that it could not read. Pure."""

from activation.port import Message
from runtime.bus.port import Outgoing, Record
from runtime.settings import Settings
from schemas.codec import Undecodable, encode
from schemas.quarantine import build_quarantine_record
from schemas.records import Delivery, DeliveryState, Transition


def build_delivery(
    transition: Transition, message: Message, destination: str, state: DeliveryState, verdict: str, *,
    at_ms: int, attempts: int = 0, status: int = 0, detail: str = "", next_ms: int = 0,
) -> Delivery:  # fmt: skip
    """Build the record of what became of a message; `next_ms` is when a waiting one is tried next."""
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
        next_ms=next_ms,
    )


def to_outgoing(settings: Settings, record: Delivery) -> Outgoing:
    """Encode a delivery for its topic, keyed by profile so that the deliveries of one profile keep their order."""
    return Outgoing(settings.topic("deliveries"), encode(record), key=record.profile_id.encode())


def to_quarantine(settings: Settings, record: Record, error: Undecodable, destination: str, now_ms: int) -> Outgoing:
    """Put a record that cannot be decoded into quarantine, whole. It is not counted: it was no accepted event."""
    coordinates = (record.topic, record.partition, record.offset)
    quarantine_record = build_quarantine_record(
        "activation",
        coordinates,
        record.value,
        error.reason,
        error.detail,
        at_ms=now_ms,
        counted=False,
        id_prefix=f"activation-{destination}",
    )
    return Outgoing(settings.topic("quarantine"), encode(quarantine_record))
