"""Which events a leaf or a computed trait is about: a name, conditions on properties, and a window. Pure."""

from collections.abc import Sequence
from typing import Annotated, Any, Final

from pydantic import Field

from domain.fields import Duration, EventName, StrictModel, WholeNumber
from domain.segments.comparisons import PropertyComparison
from domain.segments.phrases import comparisons_text, window_text
from domain.segments.registers import HORIZON_SLACK_MS, Register
from domain.segments.sql.columns import ProfileColumns
from domain.segments.sql.query import all_of

DEFAULT_RETAINED_EVENTS: Final = 300
MAX_RETAINED_EVENTS: Final = 3_000

PropertyComparisons = Annotated[
    tuple[PropertyComparison, ...], Field(max_length=20, description="conditions on its properties: all must hold")
]
RetainedEvents = Annotated[
    WholeNumber, Field(ge=1, le=MAX_RETAINED_EVENTS, description="how many of the newest events the answer is exact for")
]
"""How many of the newest events a register retains. With more of them the answer is an approximation and is marked as one."""


class EventFilter(StrictModel):
    """Events of one name, with conditions on their properties, and in a window when `within` is given."""

    event: EventName
    where: PropertyComparisons = ()
    within: Duration | None = None


def horizon_ms(within: int | None) -> int | None:
    """Return how much older than the newest entry (ms) an entry may be and still be retained; None for any age."""
    return None if within is None else within + HORIZON_SLACK_MS


def newest_register(events: EventFilter, capacity: int, **more: Any) -> Register:
    """Return the register of the `capacity` newest of these events, in their window."""
    return Register(events.event, events.where, "newest", capacity=capacity, horizon_ms=horizon_ms(events.within), **more)


def event_sql(columns: ProfileColumns, events: EventFilter) -> str:
    """Write whether an event is one of these and in their window."""
    return all_of([columns.matches_event(events.event, events.where, events.within), columns.is_in_window(events.within)])


def event_text(event: str, where: Sequence[PropertyComparison]) -> str:
    """Return the event and its conditions in words: `Order Completed (total ≥ 100)`."""
    conditions = comparisons_text(where)
    return f"{event} ({conditions})" if conditions else event


def event_filter_text(events: EventFilter) -> str:
    """Return the events and their window in words: `Order Completed (total ≥ 100) in the last 7d`."""
    return f"{event_text(events.event, events.where)}{window_text(events.within)}"
