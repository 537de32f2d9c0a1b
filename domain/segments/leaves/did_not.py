"""The leaf `did_not`: an event did not happen. The newest event alone decides it."""

from typing import ClassVar

from domain.segments.event_filter import EventFilter, event_filter_text, event_sql, newest_register
from domain.segments.leaves.leaf import LeafCondition, LeafInputs, SqlContext
from domain.segments.profile_facts import LeafResult, ProfileFacts
from domain.segments.registers import Register
from domain.segments.windows import entries_in_window


class DidNotLeaf(EventFilter):
    """`event` did not happen."""


class DidNotCondition(LeafCondition):
    did_not: DidNotLeaf

    example: ClassVar = {"did_not": {"event": "Order Refunded", "within": "90d"}}

    def registers(self) -> tuple[Register, ...]:
        return (newest_register(self.did_not, 1),)

    def evaluate(self, inputs: LeafInputs, facts: ProfileFacts, now_ms: int) -> LeafResult:
        in_window = entries_in_window(facts.entries(inputs.registers[0]), self.did_not.within, now_ms)
        return LeafResult(len(in_window.entries), not in_window.entries, in_window.next_change_ms, in_window.entries)

    def sql(self, context: SqlContext) -> str:
        columns = context.columns
        return f"{columns.profile_column(f'countIf({event_sql(columns, self.did_not)})')} = 0"

    def subject(self) -> str:
        return f"{'never' if self.did_not.within is None else 'no'} {event_filter_text(self.did_not)}"

    def is_lower_bound(self, result: LeafResult, inputs: LeafInputs) -> bool:
        return len(result.entries) >= inputs.registers[0].capacity
