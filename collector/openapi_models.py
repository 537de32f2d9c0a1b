"""What clients send and receive, for the OpenAPI document. Intake does not validate with these models: `parse_call` decides."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel

from domain.fields import StrictModel
from domain.intake.parse import MAX_NAME_CHARS
from schemas.events import EventType
from schemas.reasons import Reason

Name = Annotated[str, Field(max_length=MAX_NAME_CHARS)]
Instant = Annotated[str | int, Field(description="ISO 8601, or an epoch number in seconds, ms, us or ns by its size")]
Id = str | int
EmptyList = Annotated[list[Any], Field(max_length=0, description="PHP writes an empty object so: it counts as absent")]
Properties = dict[str, Any] | EmptyList


class _OpenModel(BaseModel):
    model_config = ConfigDict(extra="allow")


class CallBody(_OpenModel):
    """The fields of every call. null counts as absent, as does a blank time; fields that are not listed are not kept."""

    messageId: Id | None = Field(None, description="the same id of the same owner is the same event")  # noqa: N815
    userId: Id | None = Field(None, description="the customer; at least one identifier of a call must be usable")  # noqa: N815
    anonymousId: Id | None = Field(None, description="the browser or device")  # noqa: N815
    identifiers: dict[str, Id | None] | EmptyList | None = Field(None, description="further identifiers by namespace")
    timestamp: Instant | None = Field(None, description="when it happened, by the client's clock")
    originalTimestamp: Instant | None = Field(None, description="the same; the earlier of the two counts")  # noqa: N815
    sentAt: Instant | None = Field(None, description="when it was sent, by the same clock: corrects that clock")  # noqa: N815
    context: Properties | None = Field(None, description="surroundings; `context.traits` of an identify are traits")
    integrations: Properties | None = None
    writeKey: str | None = Field(None, description="the source's write key, if no header carries it")  # noqa: N815


class TrackCall(CallBody):
    event: Name = Field(description="what happened")
    properties: Properties | None = None


class IdentifyCall(CallBody):
    traits: Properties | None = None


class PageCall(CallBody):
    name: Name | None = None
    category: str | None = None
    properties: Properties | None = None


class ScreenCall(PageCall):
    pass


class GroupCall(CallBody):
    groupId: Id  # noqa: N815
    traits: Properties | None = None


class AliasCall(CallBody):
    userId: Id  # noqa: N815
    previousId: Id  # noqa: N815


class MergeCall(CallBody):
    """RudderStack's merge. It goes into quarantine, as no rule decides whom it may merge: send an alias, or identify."""

    mergeProperties: list[Any] | None = None  # noqa: N815


class BatchedCall(_OpenModel):
    type: EventType = Field(description="the type of the call, or of the call centre's event; the other fields depend on it")


class BatchBody(_OpenModel):
    batch: list[BatchedCall]
    context: Properties | None = Field(None, description="each call inherits it under its own")
    integrations: Properties | None = Field(None, description="each call inherits it under its own")
    sentAt: Instant | None = None  # noqa: N815
    writeKey: str | None = None  # noqa: N815


class CallCentreBody(RootModel[BatchedCall | BatchBody | list[BatchedCall]]):
    """Events of a call centre: one event, a list of them, or a batch."""


class ImportBody(RootModel[str]):
    """CSV with a header, or JSON lines; may be gzipped."""


class WebhookPayload(_OpenModel):
    """The payload of the other system, in its own form; the source's mapping reads it."""


class RejectedCall(StrictModel):
    """A call that became no event. It is in quarantine, where it can be repaired and replayed."""

    index: int = Field(ge=0, description="the position in the batch, from 0")
    messageId: str | None  # noqa: N815
    reason: Reason
    path: str = Field(description="the field; empty when the call itself is the problem")


class AcceptedAnswer(StrictModel):
    """Everything is durable: as events, or in quarantine where `results` lists it."""

    success: Literal[True]
    results: list[RejectedCall]


class RejectedRow(RejectedCall):
    line: int = Field(ge=1, description="the line where the row begins in the file")


class ImportAnswer(StrictModel):
    """Every row is durable, as an event or in quarantine. `results` lists the first rows that are in quarantine."""

    success: Literal[True]
    rows: int
    accepted: int
    quarantined: int
    results: list[RejectedRow]


class RefusedAnswer(StrictModel):
    """Nothing was kept. The exception is a body without calls: it is in quarantine when `results` lists it."""

    success: Literal[False]
    code: str
    message: str
    results: list[RejectedCall]


class HealthAnswer(BaseModel):
    ready: bool
