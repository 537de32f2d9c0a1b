"""The leaves `first` and `last`: when the first or last event of a kind was, and what its properties are.

The event is chosen before anything else is asked of it, so its register has one entry; whether its properties are as
`having` says is stored with the entry, because the event itself is not.
"""

from abc import abstractmethod
from typing import Any, ClassVar, Literal, Self

from pydantic import model_validator

from domain.fields import Duration, format_duration
from domain.segments.event_filter import EventFilter, PropertyComparisons, event_text
from domain.segments.leaves.leaf import LeafCondition, LeafInputs, SqlContext
from domain.segments.phrases import comparisons_text
from domain.segments.profile_facts import LeafResult, ProfileFacts
from domain.segments.registers import Register, RegisterForm
from domain.segments.sql.comparisons import comparison_sql
from domain.segments.sql.query import all_of
from schemas.instants import NEVER


class OccurrenceLeaf(EventFilter):
    """The first or last such event: it has properties as `having` says, is in the window `within` and not in `not_within`."""

    having: PropertyComparisons = ()
    not_within: Duration | None = None

    @model_validator(mode="after")
    def _windows_overlap(self) -> Self:
        if self.within is not None and self.not_within is not None and self.not_within >= self.within:
            raise ValueError("`not_within` is as long as `within`: nothing is left between them")
        return self


class OccurrenceCondition(LeafCondition):
    which: ClassVar[Literal["first", "last"]]
    register_form: ClassVar[RegisterForm]

    @property
    @abstractmethod
    def leaf(self) -> OccurrenceLeaf:
        """What the keyword's value is."""

    def registers(self) -> tuple[Register, ...]:
        leaf = self.leaf
        extract: Literal["having", "nothing"] = "having" if leaf.having else "nothing"
        return (Register(leaf.event, leaf.where, self.register_form, extract, having=leaf.having, capacity=1),)

    def evaluate(self, inputs: LeafInputs, facts: ProfileFacts, now_ms: int) -> LeafResult:
        leaf, entry = self.leaf, next(iter(facts.entries(inputs.registers[0])), None)
        if entry is None:
            return LeafResult(None)
        at_ms = entry[0]
        # This worker's clock is behind the one that accepted the event. Nothing has happened yet by this clock, and
        # nothing older is stored.
        if at_ms > now_ms:
            return LeafResult(None, next_change_ms=at_ms)
        edges = [at_ms + length for length in (leaf.within, leaf.not_within) if length is not None]
        # Both windows are (now - length, now]: at exactly `not_within` of age an event has just left the excluded window, so the
        # leaf begins to hold, and at exactly `within` of age it has just left the other one, so the leaf ends.
        is_within = leaf.within is None or at_ms > now_ms - leaf.within
        is_past_exclusion = leaf.not_within is None or at_ms <= now_ms - leaf.not_within
        # Without `having` the stored value is None, and every event fits.
        has_properties = entry[2] is not False
        # An event with other properties never comes to fit, however much time passes.
        next_change_ms = min((edge for edge in edges if edge > now_ms), default=NEVER) if has_properties else NEVER
        return LeafResult(at_ms, is_within and is_past_exclusion and has_properties, next_change_ms, [entry])

    def sql(self, context: SqlContext) -> str:
        columns, leaf, is_first = context.columns, self.leaf, self.which == "first"
        events = columns.matches_event(leaf.event, leaf.where)
        conditions = [f"{columns.profile_column(f'countIf({events})')} > 0"]
        # The window limits the chosen event, not the choice: `first` within 30d asks whether the first event of all is that
        # recent. A window inside the choice would find the first event of every profile that did anything in 30 days.
        at_ms = columns.profile_column(f"{'minIf' if is_first else 'maxIf'}(at_ms, {events})")
        if leaf.within is not None:
            conditions.append(f"{at_ms} > {columns.parameters.integer(columns.at_ms - leaf.within)}")
        if leaf.not_within is not None:
            conditions.append(f"{at_ms} <= {columns.parameters.integer(columns.at_ms - leaf.not_within)}")
        if leaf.having:
            comparisons = [
                comparison_sql(columns.parameters, comparison, columns.property_value(events, comparison.prop))
                for comparison in leaf.having
            ]
            has_properties = columns.event_column(all_of([events, *comparisons]))
            # Of several events at the same millisecond both sides choose by the hash of the message id.
            order = f"(at_ms, {columns.tie_breaker(events)})"
            conditions.append(
                columns.profile_column(f"{'argMinIf' if is_first else 'argMaxIf'}({has_properties}, {order}, {events})")
            )
        return all_of(conditions)

    def subject(self) -> str:
        return f"the {self.which} {event_text(self.leaf.event, self.leaf.where)}"

    def expectation(self) -> str:
        leaf = self.leaf
        parts = [f"with {comparisons_text(leaf.having)}"] if leaf.having else []
        parts += [f"in the last {format_duration(leaf.within)}"] if leaf.within is not None else []
        parts += [f"not in the last {format_duration(leaf.not_within)}"] if leaf.not_within is not None else []
        return ", ".join(parts)

    def displayed_value(self, result: LeafResult, _inputs: LeafInputs, _facts: ProfileFacts, _now_ms: int) -> Any:
        if result.value is None:
            return None
        return {"at_ms": result.value} | ({"as_asked": result.entries[0][2] is not False} if self.leaf.having else {})


class FirstCondition(OccurrenceCondition):
    """The first such event fits."""

    first: OccurrenceLeaf

    example: ClassVar = {"first": {"event": "Order Completed", "within": "30d"}}
    which: ClassVar = "first"
    register_form: ClassVar = "oldest"

    @property
    def leaf(self) -> OccurrenceLeaf:
        return self.first


class LastCondition(OccurrenceCondition):
    """The last such event fits."""

    last: OccurrenceLeaf

    example: ClassVar = {"last": {"event": "Order Completed", "not_within": "60d", "having": [{"prop": "coupon", "op": "exists"}]}}
    which: ClassVar = "last"
    register_form: ClassVar = "newest"

    @property
    def leaf(self) -> OccurrenceLeaf:
        return self.last
