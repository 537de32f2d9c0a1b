"""The leaf `trait`: how a trait of the profile, or a computed trait, compares with a value or with now."""

from functools import cached_property
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, StrictBool, model_validator

from domain.fields import DottedPath, Scalar, StrictModel, ZoneName, format_duration, parse_duration
from domain.segments.comparisons import (
    DATE_OPS,
    RELATIVE_OPS,
    TEXT_OPS,
    ZONE_FIELD,
    Comparison,
    ComparisonOp,
    evaluate_relative_date,
    holds,
)
from domain.segments.dates import date_problem, parse_instant
from domain.segments.leaves.leaf import LeafCondition, LeafInputs, SqlContext, TraitReference
from domain.segments.phrases import OPERATOR_TEXT, comparison_text
from domain.segments.profile_facts import LeafResult, ProfileFacts
from domain.segments.schema_rules import comparison_rules
from domain.segments.sql.comparisons import comparison_sql, instant_sql
from domain.segments.sql.query import QueryParameters, all_of

RelativeDateOp = Literal["within_last", "within_next", "more_than_ago", "more_than_ahead"]


class TraitLeaf(StrictModel):
    """A condition on a trait of the profile; `path` may be dotted, and `computed.NAME` is a computed trait.

    Beside the comparisons: `within_last`, `within_next`, `more_than_ago`, `more_than_ahead` with a duration, of a trait that is a
    date: `within_last: 7d` is (now - 7d, now], `within_next: 7d` is (now, now + 7d]. `zone` is the time zone of dates that name
    none: a plain date begins at its midnight, by default UTC's.
    """

    path: DottedPath
    op: ComparisonOp | RelativeDateOp = "eq"
    value: Scalar | tuple[Scalar, ...] | None = Field(default=None, union_mode="left_to_right")
    fold: StrictBool = False
    zone: ZoneName | None = ZONE_FIELD

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
        return Comparison.model_validate({"op": self.op, "value": self.value, "fold": self.fold, "zone": self.zone})


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
        at_ms = parse_instant(value, leaf.zone)
        if at_ms is None:
            return LeafResult(value)
        return LeafResult(value, *evaluate_relative_date(leaf.op, at_ms, length_ms, now_ms))

    def sql(self, context: SqlContext) -> str:
        value, length_ms = context.trait_value(self.trait.path), self.trait.relative_ms
        parameters = context.columns.parameters
        if length_ms is None:
            return comparison_sql(parameters, self.trait.comparison, value)
        instant = instant_sql(parameters, value, self.trait.zone)
        return relative_date_sql(parameters, self.trait.op, instant, length_ms, context.columns.at_ms)

    def subject(self) -> str:
        return self.trait.path

    def displayed_value(self, result: LeafResult, _inputs: LeafInputs, _facts: ProfileFacts, _now_ms: int) -> Any:
        """Return the value, with what is wrong with it when the condition asks for a date and it is none."""
        leaf, value = self.trait, result.value
        if value is None or leaf.op not in (*DATE_OPS, *RELATIVE_OPS):
            return value
        problem = date_problem(value, leaf.zone)
        return {"value": value, "is": problem} if problem else value

    def expectation(self) -> str:
        return trait_text(self.trait)


def trait_text(leaf: TraitLeaf) -> str:
    """Return what a trait is compared with, in words."""
    zone_text = "" if leaf.zone is None else f" in the zone {leaf.zone}"
    if leaf.relative_ms is not None:
        return f"{OPERATOR_TEXT[leaf.op]} {format_duration(leaf.relative_ms)}{zone_text}"
    return f"{comparison_text(leaf.comparison)}{zone_text}"


def relative_date_sql(parameters: QueryParameters, op: str, instant: str, length_ms: int, at_ms: int) -> str:
    """Write `evaluate_relative_date` of an instant; NULL, for a value that is no date, makes it false."""
    now_ms, length = parameters.integer(at_ms), parameters.integer(length_ms)
    conditions: dict[str, list[Any]] = {
        "within_last": [f"{instant} <= {now_ms}", f"{now_ms} < {instant} + {length}"],
        "within_next": [f"{instant} - {length} <= {now_ms}", f"{now_ms} < {instant}"],
        "more_than_ago": [f"{now_ms} >= {instant} + {length}"],
        "more_than_ahead": [f"{now_ms} < {instant} - {length}"],
    }
    return f"ifNull({all_of(conditions[op])}, false)"
