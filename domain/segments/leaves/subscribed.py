"""The leaf `subscribed`: what the customer last stated about messages by a channel."""

from typing import ClassVar, Final, Literal

from pydantic import Field

from domain.fields import StrictModel
from domain.segments.leaves.leaf import LeafCondition, LeafInputs, SqlContext
from domain.segments.leaves.preference import evaluate_preference, preference_sql
from domain.segments.profile_facts import LeafResult, ProfileFacts
from domain.segments.registers import Register

_STATUSES: Final = ("subscribed", "unsubscribed")
_EVENT: Final = "$identify"


class SubscribedLeaf(StrictModel):
    """What the customer last stated about messages by a channel."""

    channel: str = Field(min_length=1, max_length=64)
    status: Literal["subscribed", "unsubscribed", "unknown"] = "subscribed"


class SubscribedCondition(LeafCondition):
    subscribed: SubscribedLeaf

    example: ClassVar = {"subscribed": {"channel": "sms"}}

    def registers(self) -> tuple[Register, ...]:
        return (Register(_EVENT, (), "newest", "subscription", (self.subscribed.channel.lower(),)),)

    def evaluate(self, inputs: LeafInputs, facts: ProfileFacts, now_ms: int) -> LeafResult:
        return evaluate_preference(inputs.registers[0], _STATUSES, self.subscribed.status, facts, now_ms)

    def sql(self, context: SqlContext) -> str:
        columns = context.columns
        event, channel = columns.has_label(_EVENT), columns.parameters.text(self.subscribed.channel.lower())
        items = f"if({event}, JSONExtractArrayRaw(context, 'messaging_subscriptions'), [])"
        is_relevant = (
            f"JSONType(item, 'type') = 'String' AND lowerUTF8(JSONExtractString(item, 'type')) = {channel} "
            "AND JSONExtractString(item, 'status') IN ('SUBSCRIBED', 'UNSUBSCRIBED', 'DID_NOT_SUBSCRIBE')"
        )
        statuses = columns.event_column(
            f"arrayMap(item -> JSONExtractString(item, 'status'), arrayFilter(item -> {is_relevant}, {items}))"
        )
        has_status = columns.event_column(f"notEmpty({statuses})")
        is_positive = columns.event_column(f"arrayAll(status -> status = 'SUBSCRIBED', {statuses})")
        return preference_sql(columns, has_status, is_positive, _STATUSES, self.subscribed.status)

    def subject(self) -> str:
        return f"messages by {self.subscribed.channel}:"

    def expectation(self) -> str:
        return self.subscribed.status
