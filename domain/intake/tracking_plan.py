"""The specification of a tracking plan: what a source's events should look like.

Patterns are RE2 expressions, so none can take exponential time.
"""

from decimal import Decimal
from typing import Annotated, Final, Literal, Self

import re2
from pydantic import Field, field_validator, model_validator

from domain.fields import NAME_PATTERN, StrictModel
from domain.re2_options import re2_options

PlanMode = Literal["observe", "annotate", "block"]
UnknownPolicy = Literal["allow", "annotate", "block"]
PropertyType = Literal["string", "integer", "number", "boolean", "datetime", "array", "object", "money"]
Pii = Literal["none", "identifier", "contact", "sensitive"]
EventName = Annotated[str, Field(min_length=1, max_length=512)]
PropertyName = Annotated[str, Field(min_length=1, max_length=256)]
SourceName = Annotated[str, Field(pattern=NAME_PATTERN)]
MAX_DEPTH: Final = 6
MAX_EVENTS: Final = 2_000
MAX_PROPERTIES: Final = 1_000
_TYPES_BY_RULE: Final[dict[str, frozenset[str | None]]] = {
    "pattern": frozenset({None, "string", "money", "datetime"}),
    "max_length": frozenset({None, "string", "array"}),
    "min": frozenset({"integer", "number", "money"}),
    "max": frozenset({"integer", "number", "money"}),
    "properties": frozenset({None, "object"}),
    "items": frozenset({None, "array"}),
}


class PropertySpec(StrictModel):
    """One property or trait. A null counts as absent."""

    type: PropertyType | None = Field(
        default=None, description="money is a decimal as text, datetime an ISO 8601 text; without a type any kind of value fits"
    )
    required: bool = Field(default=False, description="must be there, and not null")
    enum: tuple[bool | int | float | str, ...] | None = Field(default=None, min_length=1, max_length=1_000)
    pattern: str | None = Field(default=None, max_length=1024, description="an RE2 expression that is found in the text")
    min: Decimal | None = Field(default=None, allow_inf_nan=False)
    max: Decimal | None = Field(default=None, allow_inf_nan=False)
    max_length: int | None = Field(default=None, ge=0, description="characters of a text, entries of an array")
    pii: Pii = Field(default="none", description="which personal data it holds: an identifier, a contact, sensitive data, or none")
    description: str = Field(default="", max_length=2_000)
    properties: dict[PropertyName, "PropertySpec"] = Field(default_factory=dict, description="of an object")
    items: "PropertySpec | None" = Field(default=None, description="each entry of an array")

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                re2.compile(pattern, re2_options())
            except re2.error:
                raise ValueError("not an RE2 expression: see https://github.com/google/re2/wiki/Syntax") from None
        return pattern

    @model_validator(mode="after")
    def _rules_fit_the_type(self) -> Self:
        for name, types in _TYPES_BY_RULE.items():
            if getattr(self, name) not in (None, {}) and self.type not in types:
                fitting = ", ".join(sorted(str(kind) for kind in types if kind))
                raise ValueError(f"{name} needs a type of {fitting}")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("min is larger than max")
        if nesting_depth(self) > MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
        return self


def nesting_depth(spec: PropertySpec) -> int:
    """Return how many levels a property has, itself included."""
    inner = [*spec.properties.values(), *([spec.items] if spec.items is not None else [])]
    return 1 + max(map(nesting_depth, inner), default=0)


Properties = Annotated[dict[PropertyName, PropertySpec], Field(max_length=MAX_PROPERTIES)]


class EventSpec(StrictModel):
    """One event: what it is to hold. `unknown_properties` replaces the plan's own."""

    properties: Properties = Field(default_factory=dict)
    traits: Properties = Field(default_factory=dict)
    unknown_properties: UnknownPolicy | None = None
    description: str = Field(default="", max_length=2_000)


class TrackingPlanSpec(StrictModel):
    """The `spec` of a TrackingPlan definition."""

    sources: tuple[SourceName, ...] = Field(
        default=(), max_length=100, description="the sources whose events are checked; empty: the source with the name of the plan"
    )
    mode: PlanMode = Field(
        default="observe",
        description="observe: count what does not fit; annotate: note it on the event too; block: quarantine the event",
    )
    unknown_events: UnknownPolicy = Field(
        default="annotate", description="events that the plan does not name; `block` needs the mode block"
    )
    unknown_properties: UnknownPolicy = Field(
        default="annotate", description="properties and traits that an event's plan does not name"
    )
    events: Annotated[dict[EventName, EventSpec], Field(max_length=MAX_EVENTS)] = Field(
        default_factory=dict, description="by a track event's name, or $identify, $page, $screen, $group, $alias"
    )
