"""The leaf `regularly`: an event in so many of the last periods, the current one included."""

from functools import cached_property
from typing import ClassVar, Final, Self

import re2
from pydantic import Field, model_validator

from domain.fields import Duration, EventName, StrictModel, WholeNumber, format_duration
from domain.segments.event_filter import PropertyComparisons, event_text
from domain.segments.leaves.leaf import LeafCondition, LeafInputs, SqlContext
from domain.segments.profile_facts import LeafResult, ProfileFacts
from domain.segments.registers import Register
from schemas.instants import NEVER

MAX_PERIODS: Final = 400
_UTC_OFFSET_REGEX: Final = re2.compile(r"^([+-])([01]\d):([0-5]\d)$")


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
        """How far the clock of `utc_offset` is ahead of UTC, in ms."""
        sign, hours, minutes = _UTC_OFFSET_REGEX.fullmatch(self.utc_offset).groups()
        return (int(hours) * 60 + int(minutes)) * 60_000 * (-1 if sign == "-" else 1)


class RegularlyCondition(LeafCondition):
    regularly: RegularlyLeaf

    example: ClassVar = {"regularly": {"event": "Order Completed", "every": "7d", "at_least": 3, "of": 4, "utc_offset": "+07:00"}}

    def registers(self) -> tuple[Register, ...]:
        leaf = self.regularly
        # One entry stands for a whole period, so `of` entries are exact however often the event happens in each.
        return (Register(leaf.event, leaf.where, "periods", capacity=leaf.of, period_ms=leaf.every, offset_ms=leaf.offset_ms),)

    def evaluate(self, inputs: LeafInputs, facts: ProfileFacts, now_ms: int) -> LeafResult:
        leaf, stored = self.regularly, facts.entries(inputs.registers[0])
        every, offset = leaf.every, leaf.offset_ms
        current = (now_ms + offset) // every
        matching_periods = [entry for entry in stored if current - leaf.of < entry[0] <= current]
        next_entry_ms = min((entry[0] * every - offset for entry in stored if entry[0] > current), default=NEVER)
        is_regular = len(matching_periods) >= leaf.at_least
        # It ends with the period in which number `at_least`, counted from the newest, is no longer one of the last `of`.
        # Time alone only takes periods away: an answer that is false now becomes true by an event alone and needs no timer.
        next_exit_ms = (matching_periods[leaf.at_least - 1][0] + leaf.of) * every - offset if is_regular else NEVER
        return LeafResult(len(matching_periods), is_regular, min(next_entry_ms, next_exit_ms), matching_periods)

    def sql(self, context: SqlContext) -> str:
        columns, leaf = context.columns, self.regularly
        every, offset = leaf.every, leaf.offset_ms
        oldest = (columns.at_ms + offset) // every - leaf.of + 1
        start = oldest * every - offset
        # Windows are half open, (now - within, now], so the 1 ms more lets in an event at the very start of the oldest period.
        events = columns.matches_event(leaf.event, leaf.where, columns.at_ms - start + 1)
        # Periods are counted from the start of the oldest one, so that nothing is negative: intDiv rounds towards zero.
        first, length = columns.parameters.integer(start), columns.parameters.integer(every)
        periods = columns.profile_column(f"uniqExactIf(intDiv(at_ms - {first}, {length}), {events} AND at_ms >= {first})")
        return f"{periods} >= {columns.parameters.integer(leaf.at_least)}"

    def subject(self) -> str:
        return f"{event_text(self.regularly.event, self.regularly.where)} in"

    def expectation(self) -> str:
        leaf = self.regularly
        return f"at least {leaf.at_least} of the last {leaf.of} periods of {format_duration(leaf.every)}"
