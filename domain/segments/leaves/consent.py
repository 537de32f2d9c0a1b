"""The leaf `consent`: what the customer last stated about a purpose."""

from typing import ClassVar, Final, Literal

from pydantic import Field

from domain.fields import StrictModel
from domain.segments.leaves.leaf import LeafCondition, LeafInputs, SqlContext
from domain.segments.leaves.preference import evaluate_preference, preference_sql
from domain.segments.profile_facts import LeafResult, ProfileFacts
from domain.segments.registers import CONSENT_EVENT, Register
from domain.segments.sql.comparisons import value_at_path

_STATUSES: Final = ("granted", "denied")


class ConsentLeaf(StrictModel):
    """What the customer last stated about a purpose. `unknown` is a customer who never stated anything about it."""

    purpose: str = Field(min_length=1, max_length=128)
    status: Literal["granted", "denied", "unknown"] = "granted"


class ConsentCondition(LeafCondition):
    consent: ConsentLeaf

    example: ClassVar = {"consent": {"purpose": "marketing", "status": "granted"}}

    def registers(self) -> tuple[Register, ...]:
        return (Register(CONSENT_EVENT, (), "newest", "consent", (self.consent.purpose,)),)

    def evaluate(self, inputs: LeafInputs, facts: ProfileFacts, now_ms: int) -> LeafResult:
        return evaluate_preference(inputs.registers[0], _STATUSES, self.consent.status, facts, now_ms)

    def sql(self, context: SqlContext) -> str:
        columns = context.columns
        event = columns.has_label(CONSENT_EVENT)
        preferences_path = value_at_path(columns.parameters, "context", "consent.categoryPreferences")
        preferences = columns.event_column(f"if({event}, {preferences_path}, '')")
        value = columns.event_column(f"JSONExtractRaw({preferences}, {columns.parameters.text(self.consent.purpose)})")
        has_status = columns.event_column(f"{value} IN ('true', 'false')")
        is_positive = columns.event_column(f"{value} = 'true'")
        return preference_sql(columns, has_status, is_positive, _STATUSES, self.consent.status)

    def subject(self) -> str:
        return f"consent to {self.consent.purpose}:"

    def expectation(self) -> str:
        return self.consent.status
