"""The leaf `did`: how often an event happened."""

from functools import cached_property
from typing import Annotated, ClassVar, Final, Self

from pydantic import Field, model_validator

from domain.fields import WholeNumber
from domain.segments.event_filter import EventFilter, event_filter_text, event_sql, newest_register
from domain.segments.leaves.leaf import LeafCondition, LeafInputs, SqlContext
from domain.segments.profile_facts import LeafResult, ProfileFacts
from domain.segments.registers import Register
from domain.segments.sql.query import all_of
from domain.segments.windows import entries_in_window
from schemas.instants import NEVER

MAX_TIMES: Final = 1_000
UNBOUNDED_TIMES: Final = 1 << 62


class DidLeaf(EventFilter):
    """`event` happened `at_least`, `at_most` or `exactly` so many times (at least once when none of the three is given)."""

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
        """(fewest, most) times; most is UNBOUNDED_TIMES when there is no upper limit."""
        if self.exactly is not None:
            return self.exactly, self.exactly
        fewest = self.at_least if self.at_least is not None else 0 if self.at_most is not None else 1
        return fewest, UNBOUNDED_TIMES if self.at_most is None else self.at_most


class DidCondition(LeafCondition):
    did: DidLeaf

    example: ClassVar = {"did": {"event": "Order Completed", "at_least": 2, "within": "90d"}}
    schema_rules: ClassVar = {
        "DidLeaf": {"not": {"required": ["exactly"], "anyOf": [{"required": ["at_least"]}, {"required": ["at_most"]}]}}
    }

    def registers(self) -> tuple[Register, ...]:
        fewest, most = self.did.times_range
        # The newest `fewest` entries prove that there were enough; one entry more than `most` proves that there were too many.
        return (newest_register(self.did, max(fewest, most + 1 if most < UNBOUNDED_TIMES else 0, 1)),)

    def evaluate(self, inputs: LeafInputs, facts: ProfileFacts, now_ms: int) -> LeafResult:
        leaf, stored = self.did, facts.entries(inputs.registers[0])
        in_window = entries_in_window(stored, leaf.within, now_ms)
        times, (fewest, most) = len(in_window.entries), leaf.times_range
        changes = [entry[0] for entry in stored if entry[0] > now_ms]
        if leaf.within is not None:
            # Without new events the count only falls. It comes down to `most` when the entry after the `most` newest
            # leaves the window, unless so many of the same instant leave with it that fewer than `fewest` remain; and
            # it falls below `fewest` when the entry number `fewest` leaves.
            if times > most:
                at_ms = in_window.entries[most][0]
                changes += [at_ms + leaf.within] if fewest == 0 or in_window.entries[fewest - 1][0] > at_ms else []
            elif 0 < fewest <= times:
                changes.append(in_window.entries[fewest - 1][0] + leaf.within)
        return LeafResult(times, fewest <= times <= most, min(changes, default=NEVER), in_window.entries)

    def sql(self, context: SqlContext) -> str:
        columns, (fewest, most) = context.columns, self.did.times_range
        times = columns.profile_column(f"countIf({event_sql(columns, self.did)})")
        limits = [
            f"{times} >= {columns.parameters.integer(fewest)}",
            f"{times} <= {columns.parameters.integer(most)}" if most < UNBOUNDED_TIMES else "true",
        ]
        return all_of(limits)

    def subject(self) -> str:
        return f"{event_filter_text(self.did)}:"

    def expectation(self) -> str:
        fewest, most = self.did.times_range
        if fewest == most:
            return f"exactly {fewest} times"
        if most == UNBOUNDED_TIMES:
            return f"at least {fewest} times"
        return f"at most {most} times" if fewest == 0 else f"{fewest} to {most} times"

    def is_lower_bound(self, result: LeafResult, inputs: LeafInputs) -> bool:
        return len(result.entries) >= inputs.registers[0].capacity
