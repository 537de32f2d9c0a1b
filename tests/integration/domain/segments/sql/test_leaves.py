"""Leaves over events in ClickHouse and in Python: small histories at the edges of windows, with ties, late and doubled events."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pytest

from domain.definitions.segment_plan import segment_plan_of
from domain.segments.registers import CONSENT_EVENT
from schemas.events import Event
from tests.support.events import event
from tests.support.segments import segment
from tests.support.sql_stream_comparison import assert_stream_equals_sql, load_history
from warehouse.client import Warehouse

pytestmark = pytest.mark.clickhouse
AT: Final = 1_772_323_200_000
"""2026-03-01T00:00:00Z."""
DAY: Final = 86_400_000
BUY: Final = "Order Completed"

EventSpec = tuple[str, int, Mapping[str, Any]] | tuple[str, int, Mapping[str, Any], Mapping[str, Any]]
"""(event, how long ago, properties, further fields)."""


def people(*histories: Sequence[EventSpec]) -> list[Event]:
    """Return the events of all histories; each history belongs to another person."""
    found = []
    for number, history in enumerate(histories):
        for place, (name, ago, properties, *more) in enumerate(history):
            called = {"type": name[1:], "name": ""} if name.startswith("$") else {"type": "track", "name": name}
            fields: dict[str, Any] = {"id": f"m{place}", **called, **dict(*more)}
            found.append(event({"user_id": f"người-{number}"}, time_ms=AT - ago, properties=properties, **fields))
    return found


async def both_say(warehouse: Warehouse, leaves: Sequence[Any], events: Sequence[Event], *at_ms: int, mixed: int = 1) -> None:
    """Check that SQL and the stream agree on every leaf, and on the negation of the first ones.

    At least `mixed` of the leaves must hold for some people and not for others.
    """
    await load_history(warehouse, events)
    segments = [segment(f"s{number}", leaf) for number, leaf in enumerate(leaves)]
    segments += [segment(f"n{number}", {"not": leaf}) for number, leaf in enumerate(leaves[:4])]
    said = await assert_stream_equals_sql(warehouse, segment_plan_of(segments), events, {}, *(at_ms or (AT,)))
    everybody = len({one.owner for one in events})
    assert sum(0 < len(said["members"][f"s{number}"]) < everybody for number in range(len(leaves))) >= mixed


COUNTS: Final = people(
    [],
    [("Other", 0, {})],
    [(BUY, 0, {})],
    [(BUY, DAY, {})],
    [(BUY, DAY - 1, {})],
    [(BUY, DAY + 1, {})],
    [(BUY, 0, {}, {"flags": ("bot",)})],
    [(BUY, 5, {}), (BUY, 5, {}), (BUY, 5, {}, {"id": "m0"})],
    [(BUY, 3 * DAY, {}), (BUY, 2, {}), (BUY, 1, {})],
    [(BUY, 1, {"total": 5}), (BUY, 1, {"total": 6}), (BUY, 1, {"total": "5"})],
    [("$page", 1, {}), ("$identify", 2, {})],
    [(f"${BUY}", 1, {}, {"type": "track", "name": f"${BUY}"})],
    [("$page", 1, {}, {"type": "track", "name": "$page"})],
)


async def test_how_often_an_event_happened(warehouse: Warehouse) -> None:
    ranges: list[dict[str, int]] = [
        {}, {"at_least": 1}, {"at_least": 2}, {"at_most": 0}, {"at_most": 1}, {"exactly": 0}, {"exactly": 1}, {"exactly": 2},
        {"at_least": 1, "at_most": 2},
    ]  # fmt: skip
    leaves = [{"did": {"event": BUY, **one, **window}} for one in ranges for window in ({}, {"within": "1d"})]
    leaves += [{"did_not": {"event": BUY, **window}} for window in ({}, {"within": "1d"})]
    where = [{"prop": "total", "op": "gt", "value": 5}]
    leaves += [{"did": {"event": BUY, "where": where}}, {"did_not": {"event": BUY, "where": where}}]
    leaves += [{"did": {"event": "$page"}}, {"did": {"event": "$identify"}}, {"did": {"event": f"${BUY}"}}]
    await both_say(warehouse, leaves, COUNTS, AT - 1, AT, AT + 1, AT + DAY - 1, AT + DAY, AT, mixed=15)


async def test_the_first_and_the_last(warehouse: Warehouse) -> None:
    events = people(
        [("Other", 0, {})],
        [(BUY, 0, {"total": 1})],
        [(BUY, 2 * DAY, {"total": 1}), (BUY, DAY, {"total": 2}), (BUY, 5, {"total": 3})],
        [(BUY, 5, {"total": 3}), (BUY, DAY, {"total": 2}), (BUY, 2 * DAY, {"total": 1})],
        *([(BUY, DAY, {"total": one}, {"id": f"x{one}"}) for one in (1, 2, 3)] for _ in range(4)),
        [(BUY, DAY, {"total": 1}, {"id": "a"}), (BUY, DAY, {"total": 3}, {"id": "b"})],
        [(BUY, DAY, {"total": 3}, {"id": "a"}), (BUY, DAY, {"total": 1}, {"id": "b"})],
        [(BUY, DAY, {"total": 1}), (BUY, DAY + 5, {"total": 9}, {"flags": ("bot",)})],
        [(BUY, 10 * DAY, {})],
    )
    having: list[dict[str, Any]] = [{}, *({"having": [{"prop": "total", "value": one}]} for one in (1, 2, 3))]
    having.append(
        {"having": [{"prop": "total", "op": "exists", "value": False}], "where": [{"prop": "total", "op": "ne", "value": 9}]}
    )
    windows: tuple[dict[str, str], ...] = ({}, {"within": "1d"}, {"not_within": "1d"}, {"within": "2d", "not_within": "1d"})
    leaves = [{which: {"event": BUY, **one, **window}} for which in ("first", "last") for one in having for window in windows]
    await both_say(warehouse, leaves, events, AT, AT + 1, AT - DAY, AT + 1, mixed=15)


NUMBERS: Final[tuple[Any, ...]] = (
    0, 1, -1, 2.5, 0.1, 0.2, 0.0000005, 0.0000015, 0.0000025, -0.0000005, 1e12, 1e12 + 1, -1e12, 1e300, 999999999999.9999, "5", "",
    True, None, [1], {}, 123456789.123456, 9007199254740993, 1e-9, 1.0, "Hà Nội", "Ha\u0300 No\u0323\u0302i",
)  # fmt: skip


async def test_numbers_over_events(warehouse: Warehouse) -> None:
    events = people(
        *([(BUY, 1, {"total": one})] for one in NUMBERS),
        *([(BUY, 2 * DAY, {"total": one}), (BUY, 1, {"total": 2})] for one in NUMBERS),
        [(BUY, number, {"total": one}) for number, one in enumerate(NUMBERS)],
        [(BUY, number, {"total": 0.1}) for number in range(10)],
        [(BUY, 1, {"total": 1}), (BUY, 1, {"total": 2}), (BUY, 1, {"total": 2})],
        [(BUY, number, {"total": 1e12}) for number in range(20)],
        [("Other", 1, {"total": 1})],
    )
    right = (0, 1, 2, 1.5, 0.1, 1e12, 10**15, -1, 0.000002, 5 / 3)
    leaves = [
        {"aggregate": {"event": BUY, "of": of, "prop": "total", "op": op, "value": value, **window}}
        for of, value in [
            *((of, value) for of in ("sum", "avg", "min", "max") for value in right),
            *(("distinct", n) for n in range(3)),
        ]
        for op, window in (("gte", {}), ("eq", {"within": "1d"}), ("lt", {"within": "1d"}), ("ne", {}))
    ]
    await both_say(warehouse, leaves, events, mixed=80)


def steps(*said: tuple[str, int, Any]) -> list[EventSpec]:
    return [(name, ago, {"cart": cart}) for name, ago, cart in said]


async def test_sequences(warehouse: Warehouse) -> None:
    a, b = "Cart Updated", BUY
    events = people(
        steps((a, 10, 1)),
        steps((b, 10, 1)),
        steps((a, 10, 1), (b, 5, 1)),
        steps((a, 10, 1), (b, 5, 2)),
        steps((a, 10, 1), (b, 10, 1)),
        steps((a, 5, 1), (b, 10, 1)),
        steps((a, 10, 1), (b, 5, 1), (a, 3, 1)),
        steps((a, 10, 1), (a, 8, 2), (b, 5, 1)),
        steps((a, 10, 2), (a, 8, 1), (b, 5, 1)),
        steps((a, DAY, 1), (b, DAY - 5, 1)),
        steps((a, DAY - 1, 1), (b, 5, 1)),
        steps((a, 10, 1), (b, 7, 1), (b, 3, 2), (a, 5, 2)),
        steps((a, 10, None), (b, 5, None)),
        steps((a, 10, "1"), (b, 5, 1)),
        steps((a, 10, 1), (b, 5, 1.0)),
        steps((a, 10, "a\nsb"), (b, 5, "a\nsb")),
        steps((a, 5, 1), (b, 0, 1)),
        steps((a, 5, 1), (b, -1, 1)),
        steps((a, 0, 1)),
        [(a, 10, {"cart": 1}, {"flags": ("bot",)}), (b, 5, {"cart": 1})],
        [(a, 10, {"cart": 1, "shop": "x"}), (b, 5, {"cart": 1, "shop": "y"}), (b, 4, {"cart": 1, "shop": "x"})],
    )
    leaves = [
        {"sequence": {"first": {"event": a, "pick": pick, **window}, kind: {"event": b, **limit, **same_values}}}
        for pick in ("last", "first", "any")
        for window in ({}, {"within": "1d"})
        for kind in ("then", "then_not")
        for limit in ({}, {"within": "5ms"})
        for same_values in ({}, {"same": ["cart"]}, {"same": ["cart", "shop"]})
    ]
    await both_say(warehouse, leaves, events, AT - 1, AT, AT + 1, mixed=60)


async def test_regular_events(warehouse: Warehouse) -> None:
    hour = 3_600_000
    events = people(
        [(BUY, 0, {})],
        [(BUY, number * DAY, {}) for number in range(5)],
        [(BUY, number * DAY + 1, {}) for number in range(5)],
        [(BUY, number * DAY + 7 * hour, {}) for number in (0, 1, 3)],
        [(BUY, number * hour, {}) for number in range(30)],
        [(BUY, 2 * DAY, {}, {"flags": ("bot",)})],
        [("Other", 1, {})],
        [(BUY, AT, {}), (BUY, AT - 5, {})],
    )
    leaves = [
        {"regularly": {"event": BUY, "every": every, "at_least": least, "of": of, "utc_offset": offset}}
        for every in ("1d", "7d", "1h", "12345ms")
        for least, of in ((1, 1), (2, 3), (3, 3), (3, 400))
        for offset in ("+00:00", "+07:00", "-03:30")
    ]
    await both_say(warehouse, leaves, events, AT - 1, AT, AT + 7 * hour, DAY // 2, AT, mixed=20)


def consents(*said: tuple[int, Any]) -> list[EventSpec]:
    return [(CONSENT_EVENT, ago, {}, {"context": context}) for ago, context in said]


async def test_consents_and_subscriptions(warehouse: Warehouse) -> None:
    def given(**purposes: Any) -> dict[str, Any]:
        return {"consent": {"categoryPreferences": purposes}}

    def subscriptions(*items: Any) -> dict[str, Any]:
        return {"context": {"messaging_subscriptions": list(items)}}

    yes, no = {"key": "k", "type": "SMS", "status": "SUBSCRIBED"}, {"key": "k", "type": "sms", "status": "UNSUBSCRIBED"}
    events = people(
        [("Other", 0, {})],
        consents((1, given(ads=True))),
        consents((2, given(ads=True)), (1, given(ads=False))),
        consents((1, given(ads=True)), (2, given(ads=False))),
        consents((1, given(ads=True)), (1, given(ads=False))),
        consents((1, given(ads=False)), (1, given(ads=True))),
        consents((2, given(ads=True)), (1, given(ads="no"))),
        consents((2, given(ads=True)), (1, given(ads=None))),
        consents((1, {"consent.categoryPreferences": {"ads": True}}), (2, given(ads=False))),
        consents((1, {"consent.categoryPreferences": None} | given(ads=True))),
        consents((1, {"consent": []}), (2, {"consent": {"categoryPreferences": ["ads"]}})),
        consents((1, given(**{"quảng cáo": True, "a.b": False}))),
        consents((-1, given(ads=True))),
        [(CONSENT_EVENT, 1, {}, {"context": given(ads=True), "flags": ("bot",)})],
        [("$identify", 1, {}, subscriptions(yes))],
        [("$identify", 1, {}, subscriptions(no))],
        [("$identify", 1, {}, subscriptions(yes, no))],
        [("$identify", 2, {}, subscriptions(no)), ("$identify", 1, {}, subscriptions(yes))],
        [("$identify", 1, {}, subscriptions(no)), ("$identify", 1, {}, subscriptions(yes))],
        [("$identify", 1, {}, subscriptions(yes | {"status": "MAYBE"}))],
        [("$identify", 1, {}, subscriptions(yes | {"status": "DID_NOT_SUBSCRIBE"}))],
        [("$identify", 1, {}, subscriptions(yes | {"status": None}, yes | {"type": 5}, yes | {"type": None}, "sms", None, []))],
        [("$identify", 1, {}, {"context": {"messaging_subscriptions": yes}})],
        [("$identify", 1, {}, subscriptions(yes | {"type": "E-Mail ĐẶC"}))],
        [("$page", 1, {}, subscriptions(yes))],
    )
    leaves: list[Any] = [
        {"consent": {"purpose": purpose, "status": status}}
        for purpose in ("ads", "quảng cáo", "a.b", "it's")
        for status in ("granted", "denied", "unknown")
    ]
    leaves += [
        {"subscribed": {"channel": channel, "status": status}}
        for channel in ("sms", "SMS", "e-mail đặc", "push")
        for status in ("subscribed", "unsubscribed", "unknown")
    ]
    await both_say(warehouse, leaves, events, AT + 1, AT, mixed=16)
