"""What clients send and hear, for the OpenAPI document. Intake itself reads freely and leaves the judgement to `parse_call`."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel

from schemas.events import EventType
from domain.intake.parse import MAX_NAME_CHARS
from schemas.reasons import Reason

Name = Annotated[str, Field(max_length=MAX_NAME_CHARS)]
Instant = Annotated[str | int, Field(description="ISO 8601, or an epoch number in seconds, ms, us or ns by its size")]
Id = str | int
Properties = dict[str, Any]


class _Sent(BaseModel):
    model_config = ConfigDict(extra="allow")


class Call(_Sent):
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


class Track(Call):
    event: Name = Field(description="what happened")
    properties: Properties | None = None


class Identify(Call):
    traits: Properties | None = None


class Page(Call):
    name: Name | None = None
    category: str | None = None
    properties: Properties | None = None


class Screen(Page):
    pass


class Group(Call):
    groupId: Id  # noqa: N815
    traits: Properties | None = None


class Alias(Call):
    userId: Id  # noqa: N815
    previousId: Id  # noqa: N815


class Merge(Call):
    """RudderStack's; goes into quarantine, as no rule says whom it may merge. Send an alias, or identify with identifiers."""

    mergeProperties: list[Any] | None = None  # noqa: N815


class Batched(_Sent):
    type: EventType = Field(description="which call, or what a call centre says; with the fields of its kind")


class Batch(_Sent):
    batch: list[Batched]
    context: Properties | None = Field(None, description="lies under each call's own")
    integrations: Properties | None = Field(None, description="lies under each call's own")
    sentAt: Instant | None = None  # noqa: N815
    writeKey: str | None = None  # noqa: N815


class Calls(RootModel[Batched | Batch | list[Batched]]):
    """What a call centre says: one call's event, a list of them, or a batch."""


class Rows(RootModel[str]):
    """CSV with a line of names, or JSON lines; may be gzipped."""


class Payload(_Sent):
    """Whatever the other system sends; the source's mapping reads it."""


class NotKept(BaseModel):
    """A call that became no event: it is in quarantine, can be repaired and replayed."""

    model_config = ConfigDict(extra="forbid")

    index: int = Field(ge=0, description="its place in the batch")
    messageId: str | None  # noqa: N815
    reason: Reason
    path: str = Field(description="the field, '' if it is the call itself")


class Kept(BaseModel):
    """Everything is durable: as events, or in quarantine where `results` says so."""

    model_config = ConfigDict(extra="forbid")

    success: Literal[True]
    results: list[NotKept]


class NotImported(NotKept):
    line: int = Field(ge=1, description="where it begins in the file")


class Imported(BaseModel):
    """Every row is durable, as an event or in quarantine; `results` names the first of those."""

    model_config = ConfigDict(extra="forbid")

    success: Literal[True]
    rows: int
    accepted: int
    quarantined: int
    results: list[NotImported]


class Refused(BaseModel):
    """Nothing was kept, but a body that could not be read, in quarantine, if `results` says so."""

    model_config = ConfigDict(extra="forbid")

    success: Literal[False]
    code: str
    message: str
    results: list[NotKept]


class Health(BaseModel):
    ready: bool
