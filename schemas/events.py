"""The event: the record that the collector and the accept agent append to `events`, and that every later process reads."""

from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec
from msgspec import Meta

from schemas.identifiers import Identifier

EVENT_VERSION: Final = 2
BOT_FLAG: Final = "bot"
"""The flag of an event that a program made: the event is stored, but feeds no counter and no condition."""

PREVIOUS_ID: Final = "previousId"
"""The property of an alias that has the customer's earlier id, which may be a user id or an anonymous id."""


class PlanViolation(NamedTuple):
    """One difference between an event and its tracking plan: path, rule and kind of value, never the value itself."""

    path: str
    rule: str
    kind: str


CallType = Literal[
    "call_started", "call_connected", "call_ended", "call_disposition", "callback_scheduled", "callback_done", "note_added"
]
"""The types of a call centre's events."""
CALL_TYPES: Final = (
    "call_started", "call_connected", "call_ended", "call_disposition", "callback_scheduled", "callback_done", "note_added",
)  # fmt: skip
EventType = Literal["track", "identify", "page", "screen", "group", "alias"] | CallType
EVENT_TYPES: Final = ("track", "identify", "page", "screen", "group", "alias", *CALL_TYPES)


NOBODY: Final = ""
"""The owner of an event that names nobody: a phone call whose number is withheld. It is stored, and belongs to no profile."""


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One validated, normalised event.

    One partition holds all events of an owner in order, because the owner is the Kafka key. The bounds in the descriptions are
    those that intake holds; reading a record does not check them again.
    """

    version: Annotated[
        int, Meta(description="The version of this record's schema.", extra_json_schema={"minimum": 1, "maximum": EVENT_VERSION})
    ]
    id: Annotated[
        str,
        Meta(
            description="The message id: the same id of the same owner is the same event.",
            extra_json_schema={"minLength": 1, "maxLength": 256},
        ),
    ]
    type: Annotated[EventType, Meta(description="Segment's call, or what a call centre reports.")]
    name: Annotated[
        str,
        Meta(
            description="The name of a track event; the name of a page or screen, which may be empty; empty for other calls.",
            extra_json_schema={"maxLength": 512},
        ),
    ]
    source: Annotated[
        str, Meta(description="The Source definition that it came by.", extra_json_schema={"minLength": 1, "maxLength": 128})
    ]
    time_ms: Annotated[
        int,
        Meta(
            description="When it happened, in epoch milliseconds: the client's clock corrected by sentAt, never after received_ms.",
            extra_json_schema={"minimum": 0},
        ),
    ]
    received_ms: Annotated[
        int, Meta(description="When Onefold received it, in epoch milliseconds.", extra_json_schema={"minimum": 0})
    ]
    owner: Annotated[
        str,
        Meta(
            description="The node of the owner identifier, the Kafka key; empty for a phone call whose caller is unknown.",
            extra_json_schema={"pattern": "^([0-9a-f]{32})?$"},
        ),
    ]
    nodes: Annotated[tuple[str, ...], Meta(description="The nodes of `identifiers`, in the same order.")]
    identifiers: Annotated[
        tuple[Identifier, ...], Meta(description="(namespace, normalised value), sorted; none if nobody owns the event.")
    ]
    properties: Annotated[dict[str, Any], Meta(description="What the event tells of itself.")]
    traits: Annotated[dict[str, Any], Meta(description="What an identify tells of the customer, or a group call of the group.")]
    context: Annotated[
        dict[str, Any],
        Meta(description="The surroundings as the client sent them; `enriched` and what enrichment added are Onefold's."),
    ]
    flags: Annotated[
        tuple[Annotated[str, Meta(extra_json_schema={"minLength": 1, "maxLength": 64})], ...],
        Meta(description="Sorted; `bot`: a program made the event."),
    ] = ()
    violations: Annotated[
        tuple[PlanViolation, ...],
        Meta(description="(path, rule, kind of value) of what differs from the tracking plan, where the plan annotates events."),
    ] = ()
    observed: Annotated[tuple[PlanViolation, ...], Meta(description="The same, where the plan only observes.")] = ()
    trusted: Annotated[
        bool, Meta(description="Whether its source was trusted; false: by a public write key, so anybody may have sent it.")
    ] = True

    @property
    def key(self) -> str:
        """Return the Kafka key: the owner, or the message id if nobody owns the event."""
        return self.owner or self.id

    @property
    def label(self) -> str:
        """Return the name that counters, segments and tracking plans use: a track event's own name, or `$page`, `$identify` …"""
        return self.name if self.type == "track" else f"${self.type}"
