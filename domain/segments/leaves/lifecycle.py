"""The leaf `lifecycle`: the stage of a computed trait."""

from typing import ClassVar, Literal

from pydantic import Field

from domain.fields import NAME_PATTERN, StrictModel
from domain.segments.leaves.leaf import LeafCondition, LeafInputs, SqlContext, TraitReference
from domain.segments.phrases import options_text
from domain.segments.profile_facts import COMPUTED_PREFIX, LeafResult, ProfileFacts

LifecycleStage = Literal["visitor", "lead", "first_time", "active", "loyal", "at_risk", "lost", "won_back"]


class LifecycleLeaf(StrictModel):
    """The profile's stage, by the computed trait `of`, is one of these."""

    stage: tuple[LifecycleStage, ...] = Field(min_length=1)
    of: str = Field(default="lifecycle", pattern=NAME_PATTERN)


class LifecycleCondition(LeafCondition):
    lifecycle: LifecycleLeaf

    example: ClassVar = {"lifecycle": {"stage": ["at_risk", "lost"]}}

    def trait_references(self) -> tuple[TraitReference, ...]:
        return (TraitReference(COMPUTED_PREFIX + self.lifecycle.of, "of", computation="lifecycle"),)

    def evaluate(self, _inputs: LeafInputs, facts: ProfileFacts, _now_ms: int) -> LeafResult:
        stage = facts.computed.get(self.lifecycle.of)
        return LeafResult(stage, stage in self.lifecycle.stage)

    def sql(self, context: SqlContext) -> str:
        stage = context.computed_value(self.lifecycle.of)
        return context.columns.parameters.is_one_of(stage, [f'"{name}"' for name in self.lifecycle.stage])

    def subject(self) -> str:
        return COMPUTED_PREFIX + self.lifecycle.of

    def expectation(self) -> str:
        return options_text(self.lifecycle.stage)
