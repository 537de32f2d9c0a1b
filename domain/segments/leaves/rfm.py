"""The leaf `rfm`: the recency, frequency and monetary scores of a computed trait."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from domain.fields import NAME_PATTERN, StrictModel, WholeNumber
from domain.segments.leaves.leaf import LeafCondition, LeafInputs, SqlContext, TraitReference
from domain.segments.phrases import options_text
from domain.segments.profile_facts import COMPUTED_PREFIX, LeafResult, ProfileFacts
from domain.segments.schema_rules import requires_any_of
from domain.segments.sql.query import all_of, any_of

RfmScore = Annotated[WholeNumber, Field(ge=1, le=5)]


class RfmLeaf(StrictModel):
    """The scores of the computed trait `of`: each score that is given must be among those listed. 5 is the best."""

    recency: tuple[RfmScore, ...] = ()
    frequency: tuple[RfmScore, ...] = ()
    monetary: tuple[RfmScore, ...] = ()
    of: str = Field(default="rfm", pattern=NAME_PATTERN)

    @model_validator(mode="after")
    def _has_a_requirement(self) -> Self:
        if not (self.recency or self.frequency or self.monetary):
            raise ValueError("`rfm` asks for something: recency, frequency, monetary, each a list of scores 1 to 5")
        return self

    def required_scores(self) -> dict[str, tuple[int, ...]]:
        """Return the scores that are allowed, by the dimensions that are asked for."""
        allowed = {"recency": self.recency, "frequency": self.frequency, "monetary": self.monetary}
        return {name: scores for name, scores in allowed.items() if scores}


class RfmCondition(LeafCondition):
    rfm: RfmLeaf

    example: ClassVar = {"rfm": {"recency": [4, 5], "frequency": [3, 4, 5], "monetary": [5]}}
    schema_rules: ClassVar = {"RfmLeaf": requires_any_of("recency", "frequency", "monetary")}

    def trait_references(self) -> tuple[TraitReference, ...]:
        return (TraitReference(COMPUTED_PREFIX + self.rfm.of, "of", computation="rfm"),)

    def evaluate(self, _inputs: LeafInputs, facts: ProfileFacts, _now_ms: int) -> LeafResult:
        scores = facts.computed.get(self.rfm.of)
        if not isinstance(scores, Mapping):
            return LeafResult(None)
        return LeafResult(scores, all(scores.get(name) in allowed for name, allowed in self.rfm.required_scores().items()))

    def sql(self, context: SqlContext) -> str:
        scores = context.computed_value(self.rfm.of)
        return all_of(
            any_of(f"JSONExtractRaw({scores}, '{name}') = '{score}'" for score in allowed)
            for name, allowed in self.rfm.required_scores().items()
        )

    def subject(self) -> str:
        return COMPUTED_PREFIX + self.rfm.of

    def expectation(self) -> str:
        return ", ".join(f"{name} {options_text(allowed)}" for name, allowed in self.rfm.required_scores().items())
