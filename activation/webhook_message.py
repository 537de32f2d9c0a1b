"""Renders a transition as a Standard Webhooks message. Pure: the same transition always gives the same bytes."""

import hashlib
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

import msgspec

from activation.port import Message
from domain.definitions.kinds import Destination
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
    identifiers: dict[str, list[str]]


class WebhookBody(msgspec.Struct, frozen=True):
    """The envelope: `segment.entered` or `segment.exited`."""

    type: str
    timestamp: str
    data: TransitionData


def render(transition: Transition, destination: Destination) -> Message:
    """Build the message that reports a transition. It has the identifiers of the namespaces that the destination asks for."""
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
        identifiers=identifiers_of(transition, destination.spec.identifiers),
    )
    body = WebhookBody(type=f"segment.{transition.op}", timestamp=at, data=data)
    return Message(key=idempotency_key(transition, destination.metadata.name), body=msgspec.json.encode(body))


def identifiers_of(transition: Transition, namespaces: Collection[str]) -> dict[str, list[str]]:
    """Return the profile's identifiers by namespace, without the namespaces that it has none of; values are sorted."""
    by_namespace: dict[str, list[str]] = {}
    for namespace, value in sorted(transition.identifiers):
        if namespace in namespaces:
            by_namespace.setdefault(namespace, []).append(value)
    return by_namespace


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
