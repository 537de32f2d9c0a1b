"""What clients send and hear, for the OpenAPI document. Intake itself reads freely and leaves the judgement to `parse_call`."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel

from domain.intake.parse import MAX_NAME_CHARS
from schemas.events import EventType
from schemas.reasons import Reason

Name = Annotated[str, Field(max_length=MAX_NAME_CHARS)]
Instant = Annotated[str | int, Field(description="ISO 8601, or an epoch number in seconds, ms, us or ns by its size")]
Id = str | int
Properties = dict[str, Any]


class _OpenModel(BaseModel):
    model_config = ConfigDict(extra="allow")


class CallBody(_OpenModel):
    """What all calls may hold. null is as good as absent; fields that are not listed are not kept."""

    messageId: Id | None = Field(None, description="the same id of the same person is the same event")  # noqa: N815
    userId: Id | None = Field(None, description="who it is; at least one identifier must be usable")  # noqa: N815
    anonymousId: Id | None = Field(None, description="which browser or device it is")  # noqa: N815
    identifiers: dict[str, Id | None] | None = Field(None, description="further identifiers by namespace")
    timestamp: Instant | None = Field(None, description="when it happened, by the client's clock")
    originalTimestamp: Instant | None = Field(None, description="the same; of both the earlier counts")  # noqa: N815
    sentAt: Instant | None = Field(None, description="when it was sent, by the same clock: corrects it")  # noqa: N815
    context: Properties | None = Field(None, description="surroundings; `context.traits` of an identify are traits")
    integrations: Properties | None = None
    writeKey: str | None = Field(None, description="the source's write key, if no header says it")  # noqa: N815


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
    """RudderStack's; goes into quarantine, as no rule says whom it may merge. Send an alias, or identify with identifiers."""

    mergeProperties: list[Any] | None = None  # noqa: N815


class BatchedCall(_OpenModel):
    type: EventType = Field(description="which call, or what a call centre says; with the fields of its kind")


class BatchBody(_OpenModel):
    batch: list[BatchedCall]
    context: Properties | None = Field(None, description="lies under each call's own")
    integrations: Properties | None = Field(None, description="lies under each call's own")
    sentAt: Instant | None = None  # noqa: N815
    writeKey: str | None = None  # noqa: N815


class CallCentreBody(RootModel[BatchedCall | BatchBody | list[BatchedCall]]):
    """What a call centre says: one call's event, a list of them, or a batch."""


class ImportBody(RootModel[str]):
    """CSV with a line of names, or JSON lines; may be gzipped."""


class WebhookPayload(_OpenModel):
    """Whatever the other system sends; the source's mapping reads it."""


class RejectedCall(BaseModel):
    """A call that became no event: it is in quarantine, can be repaired and replayed."""

    model_config = ConfigDict(extra="forbid")

    index: int = Field(ge=0, description="its place in the batch")
    messageId: str | None  # noqa: N815
    reason: Reason
    path: str = Field(description="the field, '' if it is the call itself")


class AcceptedAnswer(BaseModel):
    """Everything is durable: as events, or in quarantine where `results` says so."""

    model_config = ConfigDict(extra="forbid")

    success: Literal[True]
    results: list[RejectedCall]


class RejectedRow(RejectedCall):
    line: int = Field(ge=1, description="where it begins in the file")


class ImportAnswer(BaseModel):
    """Every row is durable, as an event or in quarantine; `results` names the first of those."""

    model_config = ConfigDict(extra="forbid")

    success: Literal[True]
    rows: int
    accepted: int
    quarantined: int
    results: list[RejectedRow]


class RefusedAnswer(BaseModel):
    """Nothing was kept, but a body that could not be read, in quarantine, if `results` says so."""

    model_config = ConfigDict(extra="forbid")

    success: Literal[False]
    code: str
    message: str
    results: list[RejectedCall]


class HealthAnswer(BaseModel):
    ready: bool
