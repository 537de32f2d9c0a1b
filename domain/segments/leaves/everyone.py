"""The leaf `everyone`: every profile, anonymous ones too."""

from typing import ClassVar, Literal

from domain.segments.leaves.leaf import LeafCondition, LeafInputs, SqlContext
from domain.segments.profile_facts import LeafResult, ProfileFacts


class EveryoneCondition(LeafCondition):
    """Every profile."""

    everyone: Literal[True]

    example: ClassVar = {"everyone": True}

    def evaluate(self, _inputs: LeafInputs, _facts: ProfileFacts, _now_ms: int) -> LeafResult:
        return LeafResult(None, holds=True)

    def sql(self, _context: SqlContext) -> str:
        return "true"

    def subject(self) -> str:
        return "everyone"
