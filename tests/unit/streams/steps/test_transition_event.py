"""A transition names the event that turned the segment, whatever else came with it: in one slice, in several, of several owners."""

import random
from collections.abc import Sequence
from typing import Any

import pytest

from domain.definitions.kinds import AnyDefinition
from runtime.clock import ManualClock
from schemas.events import Event
from schemas.records import Transition
from tests.support.segments import computed, customer_event, segment
from tests.support.simulated_pipeline import Pipeline

NOW_MS = ManualClock().now_ms()


def happened(name: str, age_ms: int, properties: dict[str, Any] | None = None, **more: Any) -> Event:
    return customer_event(name, NOW_MS - age_ms, properties, received_ms=NOW_MS, **more)


class Slices(random.Random):
    """Chance that always takes slices of this many records."""

    def __init__(self, records: int) -> None:
        super().__init__(1)
        self.records = records

    def randint(self, _lowest: int, _highest: int) -> int:
        return self.records


async def transitions_of(
    definitions: Sequence[AnyDefinition], batches: Sequence[Sequence[Event]], *, separate_slices: bool = False
) -> list[Transition]:
    """Return the transitions of the last batch; its events are unified together or one by one, and evaluated together."""
    line = Pipeline(Slices(1_000), definitions, partitions=1)
    before = 0
    for batch in batches:
        before = len(line.transitions())
        for event in batch:
            line.feed(event)
            if separate_slices:
                await line.run_slice("events", 0)
        while line.committed["events", 0] < len(line.logs["events", 0]):
            await line.run_slice("events", 0)
        line.clock.advance(1)
        await line.drain()
    return line.transitions()[before:]


ORDERS = [happened("Ordered", 50 - number, {"total": 10 * number, "coupon": number == 2}) for number in range(1, 5)]
VIEW = happened("Viewed", 10)
GOLD, SILVER = (happened("$identify", age, traits={"tier": tier}) for age, tier in ((9, "gold"), (8, "silver")))
GOLD_AGAIN = happened("$identify", 7, traits={"tier": "gold"})
OLD_ORDER = happened("Ordered", 5_000, {"total": 1})

CASES: dict[str, tuple[Any, list[Event], list[Event], Event]] = {
    "the last event concerns other segments": ({"did": {"event": "Ordered"}}, [], [ORDERS[0], VIEW], ORDERS[0]),
    "the first of many is enough": ({"did": {"event": "Ordered"}}, [], ORDERS, ORDERS[0]),
    "the second of many is enough": ({"did": {"event": "Ordered", "at_least": 2}}, [], [*ORDERS, VIEW], ORDERS[1]),
    "one more than before": ({"did": {"event": "Ordered", "at_least": 3}}, [OLD_ORDER], ORDERS, ORDERS[1]),
    "too many": ({"did": {"event": "Ordered", "at_most": 1}}, [OLD_ORDER], ORDERS[:2], ORDERS[0]),
    "an order ends never": ({"did_not": {"event": "Ordered", "within": "1d"}}, [VIEW], ORDERS, ORDERS[0]),
    "the one that fits": (
        {"did": {"event": "Ordered", "where": [{"prop": "total", "op": "eq", "value": 30}]}}, [], ORDERS, ORDERS[2],
    ),
    "the sum reaches it": ({"aggregate": {"of": "sum", "event": "Ordered", "prop": "total", "value": 50}}, [], ORDERS, ORDERS[2]),
    "the largest reaches it": (
        {"aggregate": {"of": "max", "event": "Ordered", "prop": "total", "value": 20}}, [], ORDERS, ORDERS[1],
    ),
    "the last one has it no more": (
        {"last": {"event": "Ordered", "having": [{"prop": "coupon", "value": True}]}}, ORDERS[:2], ORDERS[2:], ORDERS[2],
    ),
    "of those that turned it to and fro the last": (
        {"trait": {"path": "tier", "value": "gold"}}, [VIEW], [GOLD, SILVER, GOLD_AGAIN, VIEW], GOLD_AGAIN,
    ),
    "the same value again is no change": (
        {"trait": {"path": "tier", "value": "gold"}}, [VIEW], [GOLD, GOLD_AGAIN], GOLD,
    ),
    "the value before comes back to mind": (
        {"trait": {"path": "tier", "op": "ne", "value": "gold"}}, [GOLD], [SILVER, happened("$identify", 1, traits={"tier": "x"})],
        SILVER,
    ),
    "both are needed": (
        {"all": [{"did": {"event": "Ordered"}}, {"did": {"event": "Viewed"}}]}, [], [*ORDERS[:2], VIEW, ORDERS[3]], VIEW,
    ),
    "a computed trait reaches it": (
        {"trait": {"path": "computed.orders", "op": "gte", "value": 2}}, [], [*ORDERS, VIEW], ORDERS[1],
    ),
    "a late event arrives last": (
        {"did": {"event": "Ordered", "at_least": 2}}, [], [ORDERS[0], OLD_ORDER, VIEW], OLD_ORDER,
    ),
    "a sequence is completed": (
        {"sequence": {"first": {"event": "Ordered"}, "then": {"event": "Viewed"}}}, [], [*ORDERS, VIEW, GOLD], VIEW,
    ),
}  # fmt: skip


@pytest.mark.parametrize("separate_slices", [False, True])
@pytest.mark.parametrize("name", CASES)
async def test_of_a_batch_the_event_that_turned_the_segment_is_named(name: str, separate_slices: bool) -> None:
    where, earlier, batch, turning = CASES[name]
    definitions: list[AnyDefinition] = [computed("orders", {"count": {"event": "Ordered"}}), segment("s", where)]
    transitions = await transitions_of(definitions, [[VIEW, *earlier] if earlier else [], batch], separate_slices=separate_slices)
    assert [(transition.segment, transition.cause, transition.event_id) for transition in transitions] == [
        ("s", "event", turning.id)
    ]


async def test_each_segment_of_a_batch_has_its_own_event() -> None:
    definitions: list[AnyDefinition] = [
        segment("buyers", {"did": {"event": "Ordered"}}),
        segment("again", {"did": {"event": "Ordered", "at_least": 2}}),
        segment("gold", {"trait": {"path": "tier", "value": "gold"}}),
        segment("gold-buyers", {"all": [{"in_segment": "gold"}, {"in_segment": "again"}]}),
    ]
    transitions = await transitions_of(definitions, [[ORDERS[0], GOLD, ORDERS[1], VIEW]])
    assert {transition.segment: transition.event_id for transition in transitions} == {
        "buyers": ORDERS[0].id,
        "again": ORDERS[1].id,
        "gold": GOLD.id,
        "gold-buyers": ORDERS[1].id,
    }


async def test_an_import_of_a_hundred_events_at_once_names_the_one() -> None:
    orders = [happened("Ordered", 5_000 - number, {"total": 1}) for number in range(120)]
    definitions: list[AnyDefinition] = [segment("s", {"did": {"event": "Ordered", "at_least": 70}})]
    transitions = await transitions_of(definitions, [orders])
    assert [(transition.cause, transition.event_id) for transition in transitions] == [("event", orders[69].id)]


async def test_an_event_whose_touch_is_evaluated_after_a_later_one_was_applied_is_still_named() -> None:
    line = Pipeline(Slices(1_000), [segment("s", {"did": {"event": "Ordered"}})], partitions=1)
    for event in ORDERS[:2]:
        line.feed(event)
        await line.run_slice("events", 0)
    # The segment agent reads the touch of the first order alone, when the fragment has both.
    line.rng = Slices(1)
    await line.run_slice("touched", 0)
    assert [transition.event_id for transition in line.transitions()] == [ORDERS[0].id]
