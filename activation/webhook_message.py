"""Renders a transition as a Standard Webhooks message. Pure: the same transition always gives the same bytes."""

import hashlib
from datetime import UTC, datetime
from typing import Any

import msgspec

from activation.port import Message
from schemas.records import Transition


class TransitionData(msgspec.Struct, frozen=True):
    """What the message says about the transition. `at` is an instant in UTC, ISO 8601."""

    profile_id: str
    segment: str
    seq: int
    at: str
    cause: str
    event_id: str
    traits: dict[str, Any]
    computed: dict[str, Any]


class WebhookBody(msgspec.Struct, frozen=True):
    """The envelope: `segment.entered` or `segment.exited`."""

    type: str
    timestamp: str
    data: TransitionData


def render(transition: Transition, destination: str) -> Message:
    """Build the message that reports a transition to `destination`."""
    at = to_iso(transition.at_ms)
    data = TransitionData(
        profile_id=transition.profile_id,
        segment=transition.segment,
        seq=transition.seq,
        at=at,
        cause=transition.cause,
        event_id=transition.event_id,
        traits=transition.traits,
        computed=transition.computed,
    )
    body = WebhookBody(type=f"segment.{transition.op}", timestamp=at, data=data)
    return Message(key=idempotency_key(transition, destination), body=msgspec.json.encode(body))


def idempotency_key(transition: Transition, destination: str) -> str:
    """Return 64 hex digits that identify one transition at one destination."""
    parts = (
        destination,
        transition.profile_id,
        transition.segment,
        transition.segment_version,
        str(transition.seq),
        transition.op,
    )
    return hashlib.sha256("|".join(parts).encode()).hexdigest()


def to_iso(at_ms: int) -> str:
    """Format milliseconds since the epoch as ISO 8601 in UTC."""
    return datetime.fromtimestamp(at_ms / 1000, tz=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
