"""The leaf `trait`: how a trait of the profile, or a computed trait, compares with a value or with now."""

from functools import cached_property
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, StrictBool, model_validator

from domain.fields import DottedPath, Scalar, StrictModel, format_duration, parse_duration
from domain.segments.comparisons import (
    RELATIVE_OPS,
    TEXT_OPS,
    Comparison,
    ComparisonOp,
    evaluate_relative_date,
    holds,
    parse_instant,
)
from domain.segments.leaves.leaf import LeafCondition, LeafInputs, SqlContext, TraitReference
from domain.segments.phrases import OPERATOR_TEXT, comparison_text
from domain.segments.profile_facts import LeafResult, ProfileFacts
from domain.segments.schema_rules import comparison_rules
from domain.segments.sql.comparisons import comparison_sql
from domain.segments.sql.query import QueryParameters, all_of

RelativeDateOp = Literal["within_last", "within_next", "more_than_ago", "more_than_ahead"]


class TraitLeaf(StrictModel):
    """A condition on a trait of the profile; `path` may be dotted, and `computed.NAME` is a computed trait.

    Beside the comparisons: `within_last`, `within_next`, `more_than_ago`, `more_than_ahead` with a duration, of a trait that is a
    date: `within_last: 7d` is (now - 7d, now], `within_next: 7d` is (now, now + 7d].
    """

    path: DottedPath
    op: ComparisonOp | RelativeDateOp = "eq"
    value: Scalar | tuple[Scalar, ...] | None = Field(default=None, union_mode="left_to_right")
    fold: StrictBool = False

    @model_validator(mode="after")
    def _value_fits_op(self) -> Self:
        if self.op in RELATIVE_OPS:
            parse_duration(self.value)
            if self.fold:
                raise ValueError(f"`fold` goes with {', '.join(TEXT_OPS)}")
        else:
            _ = self.comparison
        return self

    @cached_property
    def relative_ms(self) -> int | None:
        """The length of a relative date in ms, None for a plain comparison."""
        return parse_duration(self.value) if self.op in RELATIVE_OPS else None

    @cached_property
    def comparison(self) -> Comparison:
        """The plain comparison."""
        return Comparison.model_validate({"op": self.op, "value": self.value, "fold": self.fold})


class TraitCondition(LeafCondition):
    trait: TraitLeaf

    example: ClassVar = {"trait": {"path": "address.city", "op": "in", "value": ["Hà Nội", "Đà Nẵng"]}}
    schema_rules: ClassVar = {"TraitLeaf": comparison_rules(with_relative_dates=True)}

    def trait_references(self) -> tuple[TraitReference, ...]:
        return (TraitReference(self.trait.path, "path"),)

    def evaluate(self, _inputs: LeafInputs, facts: ProfileFacts, now_ms: int) -> LeafResult:
        leaf = self.trait
        value = facts.trait_value(leaf.path)
        length_ms = leaf.relative_ms
        if length_ms is None:
            return LeafResult(value, holds(leaf.comparison, value))
        at_ms = parse_instant(value)
        if at_ms is None:
            return LeafResult(value)
        return LeafResult(value, *evaluate_relative_date(leaf.op, at_ms, length_ms, now_ms))

    def sql(self, context: SqlContext) -> str:
        value, length_ms = context.trait_value(self.trait.path), self.trait.relative_ms
        parameters = context.columns.parameters
        if length_ms is None:
            return comparison_sql(parameters, self.trait.comparison, value)
        return relative_date_sql(parameters, self.trait.op, value, length_ms, context.columns.at_ms)

    def subject(self) -> str:
        return self.trait.path

    def expectation(self) -> str:
        return trait_text(self.trait)


def trait_text(leaf: TraitLeaf) -> str:
    """Return what a trait is compared with, in words."""
    if leaf.relative_ms is not None:
        return f"{OPERATOR_TEXT[leaf.op]} {format_duration(leaf.relative_ms)}"
    return comparison_text(leaf.comparison)


def relative_date_sql(parameters: QueryParameters, op: str, value: str, length_ms: int, at_ms: int) -> str:
    """Write `evaluate_relative_date`; a value that is no date (NULL in SQL) makes it false."""
    instant, now_ms, length = f"instant_of({value})", parameters.integer(at_ms), parameters.integer(length_ms)
    conditions: dict[str, list[Any]] = {
        "within_last": [f"{instant} <= {now_ms}", f"{now_ms} < {instant} + {length}"],
        "within_next": [f"{instant} - {length} <= {now_ms}", f"{now_ms} < {instant}"],
        "more_than_ago": [f"{now_ms} >= {instant} + {length}"],
        "more_than_ahead": [f"{now_ms} < {instant} - {length}"],
    }
    return f"ifNull({all_of(conditions[op])}, false)"
