"""The leaves of the segment language: one per concept. What each means exactly is in docs/segment-language.md.

`event` is a track event's name, or `$page`, `$screen`, `$identify`, `$group`, `$alias` … for the other calls.
"""

import re
from datetime import date
from functools import cached_property
from typing import Annotated, Final, Literal, Self
from zoneinfo import available_timezones

from pydantic import AfterValidator, Field, model_validator

from domain.fields import NAME_PATTERN, DottedPath, Duration, EventName, FiniteNumber, StrictModel, WholeNumber
from domain.segments.comparisons import PropertyComparison, TraitLeaf

MAX_TIMES: Final = 1_000
UNBOUNDED_TIMES: Final = 1 << 62
MAX_DISTINCT: Final = 500
MAX_PERIODS: Final = 400
DEFAULT_RETAINED_EVENTS: Final = 300
MAX_RETAINED_EVENTS: Final = 3_000

PropertyComparisons = Annotated[
    tuple[PropertyComparison, ...], Field(max_length=20, description="conditions on its properties: all must hold")
]
OrderingOp = Literal["eq", "ne", "lt", "lte", "gt", "gte"]
AggregateThreshold = (
    Annotated[int, Field(strict=True, ge=-(10**15), le=10**15)]
    | Annotated[float, Field(strict=True, ge=-1e15, le=1e15, allow_inf_nan=False)]
)
RetainedEvents = Annotated[
    WholeNumber, Field(ge=1, le=MAX_RETAINED_EVENTS, description="how many of the newest events the answer is exact for")
]
"""How many of the newest events a leaf keeps; beyond that its answer is an approximation, and says so."""
_UTC_OFFSET_REGEX: Final = re.compile(r"^([+-])([01]\d):([0-5]\d)$")


def _validate_zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError("not a time zone: name one of the IANA database, such as Asia/Ho_Chi_Minh")
    return name


TimeZoneName = Annotated[str, AfterValidator(_validate_zone)]


class EventFilter(StrictModel):
    """Events of one name, with conditions on their properties, in a window if one is given."""

    event: EventName
    where: PropertyComparisons = ()
    within: Duration | None = None


class DidLeaf(EventFilter):
    """`event` happened `at_least`, `at_most` or `exactly` so many times (at least once, if nothing is said)."""

    at_least: Annotated[WholeNumber, Field(ge=1, le=MAX_TIMES)] | None = None
    at_most: Annotated[WholeNumber, Field(ge=0, le=MAX_TIMES)] | None = None
    exactly: Annotated[WholeNumber, Field(ge=0, le=MAX_TIMES)] | None = None

    @model_validator(mode="after")
    def _bounds_are_consistent(self) -> Self:
        if self.exactly is not None and (self.at_least is not None or self.at_most is not None):
            raise ValueError("`exactly` stands alone: leave out `at_least` and `at_most`")
        if self.times_range[0] > self.times_range[1]:
            raise ValueError("`at_least` is larger than `at_most`")
        return self

    @cached_property
    def times_range(self) -> tuple[int, int]:
        """(fewest, most) times; most is NO_END when there is none."""
        if self.exactly is not None:
            return self.exactly, self.exactly
        fewest = self.at_least if self.at_least is not None else 0 if self.at_most is not None else 1
        return fewest, UNBOUNDED_TIMES if self.at_most is None else self.at_most


class DidNotLeaf(EventFilter):
    """`event` did not happen."""


class OccurrenceLeaf(EventFilter):
    """The first, or the last, such event: its properties are as `having` says, it is in the window `within` and not in
    the window `not_within`."""

    having: PropertyComparisons = ()
    not_within: Duration | None = None

    @model_validator(mode="after")
    def _windows_overlap(self) -> Self:
        if self.within is not None and self.not_within is not None and self.not_within >= self.within:
            raise ValueError("`not_within` is as long as `within`: nothing is left between them")
        return self


class AggregateLeaf(EventFilter):
    """A number over the events: the sum, average, smallest or largest of `prop`, or how many distinct values it has.

    Events whose `prop` is no number (for `distinct`: no text, number or boolean) do not count. Of no event at all there is no
    value, so a comparison is false; `distinct` is 0.
    """

    of: Literal["sum", "avg", "min", "max", "distinct"]
    prop: DottedPath
    op: OrderingOp = "gte"
    value: AggregateThreshold
    keep: RetainedEvents = DEFAULT_RETAINED_EVENTS

    @model_validator(mode="after")
    def _threshold_is_reachable(self) -> Self:
        if self.of == "distinct" and not 0 <= self.value <= MAX_DISTINCT:
            raise ValueError(f"`distinct` is compared with 0 to {MAX_DISTINCT}")
        return self


class SequenceStep(EventFilter):
    """The event that a sequence begins with. `pick` says which one: the last, the first, or any in the window."""

    pick: Literal["last", "first", "any"] = "last"


class FollowUp(StrictModel):
    """The event after it, at most `within` later (if that is given); `same` names properties that both have with one value."""

    event: EventName
    where: PropertyComparisons = ()
    within: Duration | None = None
    same: Annotated[tuple[DottedPath, ...], Field(max_length=5)] = ()


class SequenceLeaf(StrictModel):
    """`first`, and `then` the second event after it, or `then_not`.

    `then_not` with `within` holds from the end of that time on.
    """

    first: SequenceStep
    then: FollowUp | None = None
    then_not: FollowUp | None = None
    keep: RetainedEvents = DEFAULT_RETAINED_EVENTS

    @model_validator(mode="after")
    def _has_one_follow_up(self) -> Self:
        if (self.then is None) is (self.then_not is None):
            raise ValueError("a sequence has either `then` or `then_not`")
        return self

    @cached_property
    def follow_up(self) -> FollowUp:
        """What follows, or must not."""
        return self.then or self.then_not or FollowUp(event="-")


class RegularlyLeaf(StrictModel):
    """`event` happened in at least `at_least` of the last `of` periods, this one included.

    Periods are `every` long and begin at multiples of it since 1970-01-01T00:00 at `utc_offset`.
    """

    event: EventName
    where: PropertyComparisons = ()
    every: Duration
    at_least: WholeNumber = Field(ge=1, le=MAX_PERIODS)
    of: WholeNumber = Field(ge=1, le=MAX_PERIODS)
    utc_offset: str = Field(default="+00:00", pattern=_UTC_OFFSET_REGEX.pattern)

    @model_validator(mode="after")
    def _is_satisfiable(self) -> Self:
        if self.at_least > self.of:
            raise ValueError("`at_least` is larger than `of`")
        return self

    @cached_property
    def offset_ms(self) -> int:
        """How far the clock of `utc_offset` is ahead of UTC."""
        sign, hours, minutes = _UTC_OFFSET_REGEX.fullmatch(self.utc_offset).groups()  # type: ignore[union-attr]  # the field's pattern
        return (int(hours) * 60 + int(minutes)) * 60_000 * (-1 if sign == "-" else 1)


class PercentLeaf(StrictModel):
    """A fixed part of all profiles, chosen by a hash of `salt` and the profile id. Another salt chooses others."""

    of: FiniteNumber = Field(ge=0.01, le=100, description="per cent, in hundredths at the finest")
    salt: str = Field(min_length=1, max_length=64)

    @property
    def buckets(self) -> int:
        """How many of 10,000 buckets are inside."""
        return round(self.of * 100)


RfmScore = Annotated[WholeNumber, Field(ge=1, le=5)]


class RfmLeaf(StrictModel):
    """The scores of the computed trait `of`: all that is given must be among those listed. 5 is the best."""

    recency: tuple[RfmScore, ...] = ()
    frequency: tuple[RfmScore, ...] = ()
    monetary: tuple[RfmScore, ...] = ()
    of: str = Field(default="rfm", pattern=NAME_PATTERN)

    @model_validator(mode="after")
    def _has_a_requirement(self) -> Self:
        if not (self.recency or self.frequency or self.monetary):
            raise ValueError("`rfm` asks for something: recency, frequency, monetary, each a list of scores 1 to 5")
        return self


LifecycleStage = Literal["visitor", "lead", "first_time", "active", "loyal", "at_risk", "lost", "won_back"]


class LifecycleLeaf(StrictModel):
    """The profile's stage, by the computed trait `of`, is one of these."""

    stage: tuple[LifecycleStage, ...] = Field(min_length=1)
    of: str = Field(default="lifecycle", pattern=NAME_PATTERN)


class ConsentLeaf(StrictModel):
    """What the customer last said of a purpose. `unknown` is a customer who never said anything of it."""

    purpose: str = Field(min_length=1, max_length=128)
    status: Literal["granted", "denied", "unknown"] = "granted"


class SubscribedLeaf(StrictModel):
    """What the customer last said of messages by a channel."""

    channel: str = Field(min_length=1, max_length=64)
    status: Literal["subscribed", "unsubscribed", "unknown"] = "subscribed"


class CalendarLeaf(StrictModel):
    """The customer's local date is in the `days` days that begin `before` days before the anniversary of a date.

    `trait` is a date (`1990-02-28`, or one with a time, whose date counts). 29 February is kept on 28 February in other years.
    The zone is that of the trait `zone_trait`, else `zone`.
    """

    trait: DottedPath
    before: WholeNumber = Field(default=0, ge=0, le=180)
    days: WholeNumber = Field(default=1, ge=1, le=180)
    zone: TimeZoneName = "UTC"
    zone_trait: DottedPath = "timezone"

    @staticmethod
    def parse_date(value: object) -> date | None:
        """The date that a trait's value begins with, None if it is none."""
        text = value[:10] if isinstance(value, str) else ""
        if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            return None
        try:
            return date.fromisoformat(text)
        except ValueError:
            return None


class MinimumMembers(StrictModel):
    """How many profiles a group has."""

    at_least: WholeNumber = Field(ge=1, le=10_000)


class MinimumEventCount(StrictModel):
    """`event` happened at least `at_least` times to all members together, whenever."""

    event: EventName
    at_least: WholeNumber = Field(default=1, ge=1, le=1000)


def _validate_group_trait(trait: TraitLeaf | None) -> None:
    if trait is not None and (trait.relative_ms is not None or trait.path.startswith("computed.")):
        raise ValueError("a group has no computed traits, and its dates are compared with `before` and `after` alone")


class AccountLeaf(StrictModel):
    """What one of the profile's accounts must be: all that is given, of the same account."""

    trait: TraitLeaf | None = None
    members: MinimumMembers | None = None

    @model_validator(mode="after")
    def _has_a_requirement(self) -> Self:
        if not (self.trait or self.members):
            raise ValueError("`account` asks for something: trait, members")
        _validate_group_trait(self.trait)
        return self


class HouseholdLeaf(StrictModel):
    """What the profile's household must be: all that is given."""

    trait: TraitLeaf | None = None
    members: MinimumMembers | None = None
    did: MinimumEventCount | None = None

    @model_validator(mode="after")
    def _has_a_requirement(self) -> Self:
        if not (self.trait or self.members or self.did):
            raise ValueError("`household` asks for something: trait, members, did")
        _validate_group_trait(self.trait)
        return self
