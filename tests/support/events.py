"""Makers of valid events."""

from collections.abc import Mapping
from typing import Any

from domain.identity.namespaces import Namespaces, OwnNamespace
from schemas.events import EVENT_VERSION, NOBODY, Event, EventType

SECRET = b"test-secret"
START_MS = 1_749_999_000_000
NAMESPACES = Namespaces.of([OwnNamespace("loyalty_card", rank=1, owner_order=3)])
"""The namespaces of these events. Rules must declare `loyalty_card` before its evidence counts."""


def event(
    identifiers: Mapping[str, str],
    *,
    id: str,  # noqa: A002 - the field's own name
    name: str = "",
    type: EventType = "track",  # noqa: A002 - the field's own name
    time_ms: int = START_MS,
    received_ms: int | None = None,
    properties: Mapping[str, Any] | None = None,
    traits: Mapping[str, Any] | None = None,
    context: Mapping[str, Any] | None = None,
    source: str = "default",
    **more: Any,
) -> Event:
    """Return an event about `identifiers` (namespace → normalised value); without any, nobody owns it."""
    pairs = tuple(sorted(identifiers.items()))
    strongest = NAMESPACES.pick_owner(pairs)
    return Event(
        version=EVENT_VERSION,
        id=id,
        type=type,
        name=name,
        source=source,
        time_ms=time_ms,
        received_ms=time_ms if received_ms is None else received_ms,
        owner=NOBODY if strongest is None else NAMESPACES.node(SECRET, strongest),
        nodes=tuple(NAMESPACES.node(SECRET, pair) for pair in pairs),
        identifiers=pairs,
        properties=dict(properties or {}),
        traits=dict(traits or {}),
        context=dict(context or {}),
        **more,
    )
