"""Computed traits: values derived from a profile's events; `computed.NAME` can be used wherever a trait can.

A definition has exactly one kind of computation. `lifecycle` and `rfm` exist without a definition; one of that name replaces them.
"""

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from domain.fields import DottedPath, Duration, EventName, FiniteNumber, StrictModel, WholeNumber
from domain.segments.event_filter import DEFAULT_RETAINED_EVENTS, EventFilter, PropertyComparisons, RetainedEvents

MAX_VALUES: Final = 100


class CountTrait(EventFilter):
    """How many such events."""

    keep: RetainedEvents = DEFAULT_RETAINED_EVENTS


class AmountTrait(EventFilter):
    """A number over the amounts of `prop`; no value without any amount."""

    prop: DottedPath
    keep: RetainedEvents = DEFAULT_RETAINED_EVENTS


class OccurrenceTrait(StrictModel):
    """The value of `prop` in the first or last such event that has one (a text, a number or a boolean)."""

    event: EventName
    where: PropertyComparisons = ()
    prop: DottedPath


class ValuesTrait(EventFilter):
    """The values of `prop` (texts, numbers, booleans): the most frequent one, or all different ones, the latest first."""

    prop: DottedPath
    keep: RetainedEvents = MAX_VALUES


class DaysSinceTrait(StrictModel):
    """Whole days since the first or last such event."""

    event: EventName
    where: PropertyComparisons = ()
    which: Literal["first", "last"] = "last"


ScoreEdge = Annotated[FiniteNumber, Field(ge=-1e15, le=1e15)]
ScoreEdges = Annotated[
    tuple[ScoreEdge, ScoreEdge, ScoreEdge, ScoreEdge], Field(description="four edges, ascending, between the five scores")
]


class RfmTrait(StrictModel):
    """Recency, frequency and monetary scores, 1 to 5 (best), of the orders in the window; no value without an order in it.

    `recency` are ages: younger than the first edge is 5, …, as old as the last or older is 1. `frequency` and `monetary` are a
    count and a sum: less than the first edge is 1, …, the last or more is 5.
    """

    event: EventName = "Order Completed"
    where: PropertyComparisons = ()
    prop: DottedPath = "total"
    within: Duration
    recency: tuple[Duration, Duration, Duration, Duration]
    frequency: ScoreEdges
    monetary: ScoreEdges
    keep: RetainedEvents = DEFAULT_RETAINED_EVENTS

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        for name in ("recency", "frequency", "monetary"):
            edges = getattr(self, name)
            if list(edges) != sorted(set(edges)):
                raise ValueError(f"the edges of `{name}` ascend")
        return self


class LifecycleTrait(StrictModel):
    """The customer's stage, by orders.

    visitor (unknown), lead (known, no order), first_time, active (two and more), loyal (`loyal_orders` and more),
    at_risk (no order for `at_risk_after`), lost (for `lost_after`), won_back (ordered again after being lost).
    """

    event: EventName = "Order Completed"
    where: PropertyComparisons = ()
    loyal_orders: WholeNumber = Field(default=5, ge=3, le=100)
    at_risk_after: Duration
    lost_after: Duration

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if self.at_risk_after >= self.lost_after:
            raise ValueError("`at_risk_after` is shorter than `lost_after`")
        return self


class ComputedTraitSpec(StrictModel):
    """The `spec` of a ComputedTrait definition: one of these."""

    count: CountTrait | None = None
    sum: AmountTrait | None = None
    avg: AmountTrait | None = None
    min: AmountTrait | None = None
    max: AmountTrait | None = None
    first: OccurrenceTrait | None = None
    last: OccurrenceTrait | None = None
    most_frequent: ValuesTrait | None = None
    unique: ValuesTrait | None = None
    days_since: DaysSinceTrait | None = None
    rfm: RfmTrait | None = None
    lifecycle: LifecycleTrait | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        kinds = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(kinds) != 1:
            raise ValueError(f"exactly one of {', '.join(type(self).model_fields)} is expected here")
        return self

    @property
    def kind(self) -> str:
        """The name of the one computation that is given."""
        return next(name for name in type(self).model_fields if getattr(self, name) is not None)


DEFAULT_COMPUTED_TRAITS: Final = {
    "rfm": ComputedTraitSpec.model_validate(
        {
            "rfm": {
                "within": "365d",
                "recency": ["30d", "60d", "120d", "240d"],
                "frequency": [2, 3, 5, 10],
                "monetary": [500_000, 2_000_000, 5_000_000, 20_000_000],
            }
        }
    ),
    "lifecycle": ComputedTraitSpec.model_validate({"lifecycle": {"at_risk_after": "90d", "lost_after": "180d"}}),
}
"""Amounts are in đồng. A definition named `rfm` or `lifecycle` replaces these, to have other edges."""
