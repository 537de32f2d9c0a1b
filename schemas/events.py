"""The event: what the collector and the accept agent append to `events`, and everyone behind them reads."""

from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from schemas.identifiers import Identifier

EVENT_VERSION: Final = 2
BOT_FLAG: Final = "bot"
"""The flag of an event that a program made: it is kept, but feeds no counter and no leaf."""


class PlanViolation(NamedTuple):
    """What of an event is not as its tracking plan says: where, which rule, what kind of value. Never the value itself."""

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


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One validated, normalised event. The Kafka key is `owner`, so one partition holds all of an owner's events in order.

    `violations` are those that its tracking plan wants noted on it, `observed` those that it only counts.
    """

    version: int
    id: str
    type: EventType
    name: str
    source: str
    time_ms: int
    received_ms: int
    owner: str
    nodes: tuple[str, ...]
    identifiers: tuple[Identifier, ...]
    properties: dict[str, Any]
    traits: dict[str, Any]
    context: dict[str, Any]
    flags: tuple[str, ...] = ()
    violations: tuple[PlanViolation, ...] = ()
    observed: tuple[PlanViolation, ...] = ()

    @property
    def label(self) -> str:
        """What counters, segments and tracking plans call it: a track event's name, `$page`, `$identify` … for the other calls."""
        return self.name if self.type == "track" else f"${self.type}"


class EventModel(BaseModel):
    """The same event for edges and documents: strict, with each field explained. Held equal to `Event` by a test."""

    model_config = ConfigDict(strict=True, extra="forbid")

    version: int = Field(ge=1, le=EVENT_VERSION, description="schema version")
    id: str = Field(min_length=1, max_length=256, description="message id: the same id of the same owner is the same event")
    type: EventType = Field(description="Segment's call, or what a call centre says")
    name: str = Field(max_length=512, description="track: the event's name; page and screen: its name, may be empty; else empty")
    source: str = Field(min_length=1, max_length=128, description="the Source definition it came by")
    time_ms: int = Field(ge=0, description="when it happened: client clock corrected by sentAt, never after received_ms")
    received_ms: int = Field(ge=0, description="when Onefold received it")
    owner: str = Field(pattern=r"^[0-9a-f]{32}$", description="node of the owner identifier; the Kafka key")
    nodes: list[str] = Field(min_length=1, description="nodes of `identifiers`, in the same order")
    identifiers: list[tuple[str, str]] = Field(min_length=1, description="(namespace, normalised value), sorted")
    properties: dict[str, Any] = Field(description="what the event says of itself")
    traits: dict[str, Any] = Field(description="what the event says of the customer (identify), or of the group (group)")
    context: dict[str, Any] = Field(
        description="surroundings as the client sent them; `enriched` and what enrichment added are ours"
    )
    flags: list[Annotated[str, Field(min_length=1, max_length=64)]] = Field(
        default=[], description="sorted; `bot`: made by a program"
    )
    violations: list[tuple[str, str, str]] = Field(
        default=[], description="(path, rule, kind of value) of what is not as the tracking plan says"
    )
    observed: list[tuple[str, str, str]] = Field(default=[], description="the same, of a plan that only observes")
