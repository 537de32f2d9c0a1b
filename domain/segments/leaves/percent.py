"""The leaf `percent`: a fixed part of all profiles, chosen by a hash."""

import hashlib
from typing import ClassVar

from pydantic import Field

from domain.fields import FiniteNumber, StrictModel
from domain.segments.leaves.leaf import Dependency, LeafCondition, LeafInputs, SqlContext
from domain.segments.profile_facts import LeafResult, ProfileFacts


class PercentLeaf(StrictModel):
    """A fixed part of all profiles, chosen by a hash of `salt` and the profile id. Another salt chooses others."""

    of: FiniteNumber = Field(ge=0.01, le=100, description="per cent, in hundredths at the finest")
    salt: str = Field(min_length=1, max_length=64)

    @property
    def buckets(self) -> int:
        """How many of 10,000 buckets are inside."""
        return round(self.of * 100)


class PercentCondition(LeafCondition):
    percent: PercentLeaf

    example: ClassVar = {"percent": {"of": 10, "salt": "spring-2027"}}
    depends_on: ClassVar = Dependency.IDENTITY

    def evaluate(self, _inputs: LeafInputs, facts: ProfileFacts, _now_ms: int) -> LeafResult:
        digest = hashlib.sha256(f"{self.percent.salt}:{facts.profile_id}".encode()).digest()
        bucket = int.from_bytes(digest[:4]) % 10_000
        return LeafResult(bucket, bucket < self.percent.buckets)

    def sql(self, context: SqlContext) -> str:
        parameters = context.columns.parameters
        digest = f"SHA256(concat({parameters.text(self.percent.salt + ':')}, profile_id))"
        # ClickHouse reads integers little-endian, Python's from_bytes above big-endian: hence `reverse`.
        bucket = f"reinterpretAsUInt32(reverse(substring({digest}, 1, 4))) % 10000"
        return f"{bucket} < {parameters.integer(self.percent.buckets)}"

    def subject(self) -> str:
        return f"{self.percent.of:g} % of all profiles, chosen by {self.percent.salt}: bucket"

    def expectation(self) -> str:
        return f"below {self.percent.buckets} of 10000"
