"""The leaf `aggregate`: a sum, average, smallest or largest number, or the number of different values, against a threshold."""

from collections.abc import Callable, Mapping
from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from domain.fields import DottedPath
from domain.segments.amounts import aggregate_amounts, amount_columns, amount_registers
from domain.segments.event_filter import DEFAULT_RETAINED_EVENTS, EventFilter, RetainedEvents, event_filter_text, horizon_ms
from domain.segments.leaves.leaf import LeafCondition, LeafInputs, SqlContext
from domain.segments.phrases import OPERATOR_TEXT, exactness_text
from domain.segments.profile_facts import LeafResult, ProfileFacts
from domain.segments.registers import AMOUNT_SCALE, Register, amount_to_number, to_millionths
from domain.segments.sql.columns import ProfileColumns
from domain.segments.sql.query import all_of
from domain.segments.windows import entries_in_window

MAX_DISTINCT: Final = 500
OrderingOp = Literal["eq", "ne", "lt", "lte", "gt", "gte"]
AggregateThreshold = (
    Annotated[int, Field(strict=True, ge=-(10**15), le=10**15)]
    | Annotated[float, Field(strict=True, ge=-1e15, le=1e15, allow_inf_nan=False)]
)
_COMPARATORS: Final[Mapping[OrderingOp, Callable[[int, int], bool]]] = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "lt": lambda a, b: a < b,
    "lte": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "gte": lambda a, b: a >= b,
}
_SQL_OPERATORS: Final[Mapping[OrderingOp, str]] = {"eq": "=", "ne": "!=", "lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
_FUNCTION_TEXT: Final[Mapping[str, str]] = {
    "sum": "the sum of", "avg": "the average of", "min": "the smallest", "max": "the largest", "distinct": "the distinct values of",
}  # fmt: skip


class AggregateLeaf(EventFilter):
    """A number over the events: the sum, average, smallest or largest of `prop`, or how many distinct values it has.

    Events whose `prop` is no number (for `distinct`: no text, number or boolean) do not count. Without any event there is no
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


class AggregateCondition(LeafCondition):
    aggregate: AggregateLeaf

    example: ClassVar = {
        "aggregate": {"of": "sum", "event": "Order Completed", "prop": "total", "within": "90d", "op": "gte", "value": 5_000_000}
    }

    def registers(self) -> tuple[Register, ...]:
        leaf = self.aggregate
        if leaf.of != "distinct":
            return amount_registers(leaf, leaf.of, leaf.prop, leaf.keep)
        # A threshold is at most MAX_DISTINCT, so one value more decides every comparison exactly.
        return (
            Register(
                leaf.event, leaf.where, "newest_of_each", "value", (leaf.prop,), capacity=MAX_DISTINCT + 1,
                horizon_ms=horizon_ms(leaf.within),
            ),
        )  # fmt: skip

    def evaluate(self, inputs: LeafInputs, facts: ProfileFacts, now_ms: int) -> LeafResult:
        leaf, register = self.aggregate, inputs.registers[0]
        compare, threshold = _COMPARATORS[leaf.op], to_millionths(leaf.value)
        if leaf.of == "distinct":
            in_window = entries_in_window(facts.entries(register), leaf.within, now_ms)
            # Thresholds are in millionths, since a number of values may be compared with 2.5; the count is scaled to match.
            number = len(in_window.entries)
            return LeafResult(number, compare(number * AMOUNT_SCALE, threshold), in_window.next_change_ms, in_window.entries)
        total, times, next_ms, entries = aggregate_amounts(leaf.of, leaf.within, register, facts, now_ms)
        # Nothing to compare is not 0: `sum lt 100` must not hold for everyone who never bought anything, and SQL asks the same.
        if times == 0:
            return LeafResult(None, next_change_ms=next_ms)
        # An average is compared without dividing: total / times >= threshold is total >= threshold * times, exact in whole numbers.
        displayed = amount_to_number(total) if leaf.of != "avg" else total / AMOUNT_SCALE / times
        compared_threshold = threshold * times if leaf.of == "avg" else threshold
        # The register has a place more than `keep`. When even that one is taken, older amounts of the window may have been dropped.
        is_approximate = register.form == "newest" and times >= register.capacity
        return LeafResult(displayed, compare(total, compared_threshold), next_ms, entries, is_approximate)

    def sql(self, context: SqlContext) -> str:
        columns, leaf = context.columns, self.aggregate
        threshold, sql_operator = columns.parameters.amount(to_millionths(leaf.value)), _SQL_OPERATORS[leaf.op]
        if leaf.of == "distinct":
            return f"toInt128({self._distinct_sql(columns)}) * {AMOUNT_SCALE} {sql_operator} {threshold}"
        total, times = amount_columns(columns, leaf, leaf.of, leaf.prop)
        # As in `evaluate`: `times` is positive here, so multiplying by it instead of dividing keeps the direction of
        # the comparison.
        threshold = f"{threshold} * {times}" if leaf.of == "avg" else threshold
        return all_of([f"{times} > 0", f"{total} {sql_operator} {threshold}"])

    def _distinct_sql(self, columns: ProfileColumns) -> str:
        leaf = self.aggregate
        value = columns.property_value(columns.matches_event(leaf.event, leaf.where, leaf.within), leaf.prop)
        canonical_column = columns.event_column(f"canonical({value})")
        condition = all_of([f"{canonical_column} != ''", columns.is_in_window(leaf.within)])
        return columns.profile_column(f"uniqExactIf({canonical_column}, {condition})")

    def subject(self) -> str:
        return f"{_FUNCTION_TEXT[self.aggregate.of]} {self.aggregate.prop}, {event_filter_text(self.aggregate)}"

    def expectation(self) -> str:
        return f"{OPERATOR_TEXT[self.aggregate.op]} {self.aggregate.value}"

    def exactness_limit(self, register: Register) -> str:
        leaf = self.aggregate
        return "" if leaf.of == "distinct" or register.form != "newest" else exactness_text(register, leaf.within)

    def is_lower_bound(self, result: LeafResult, inputs: LeafInputs) -> bool:
        return self.aggregate.of == "distinct" and len(result.entries) >= inputs.registers[0].capacity
