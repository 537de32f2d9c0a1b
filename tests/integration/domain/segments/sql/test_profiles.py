"""Computed traits, what looks at them, and what looks at the profile itself, in ClickHouse and in Python."""

from collections.abc import Sequence
from typing import Any, Final

import pytest

from domain.definitions.segment_plan import segment_plan_of
from domain.segments.sql.compile import computed_values_query, membership_query
from schemas.events import Event
from schemas.identifiers import node
from tests.support.events import SECRET, event
from tests.support.segments import computed, list_definition, segment
from tests.support.sql_stream_comparison import assert_stream_equals_sql, load_history, sql_answers, stream_answers, stream_facts
from warehouse.client import Warehouse

pytestmark = pytest.mark.clickhouse
AT: Final = 1_772_323_200_000
"""2026-03-01T00:00:00Z."""
DAY: Final = 86_400_000
BUY: Final = "Order Completed"
VALUES: Final[tuple[Any, ...]] = (
    "a", "A", "Hà Nội", "Ha\u0300 No\u0323\u0302i", "",
    "it's \\ \"/\n\t", 1, 1.0, 0, -0.0, 0.1, -2.5, 1e-4, 1e-5, 1.5e-7, 5e-324, 1e15, 1e16,
    123456789012345680.0, 1e21, 1.7976931348623157e308, -1e22, 9007199254740993, 18446744073709551615, 999999999999999.9, True,
    False, None, [1], {"a": 1}, "ữ" * 512, "ữ" * 513,
)  # fmt: skip


def bought(person: int, ago: int, total: Any = None, **more: Any) -> Event:
    fields: dict[str, Any] = {"id": f"m{ago} {total}", "name": BUY, "identifiers": {"user_id": f"người-{person}"}} | more
    return event(fields.pop("identifiers"), time_ms=AT - ago, properties={"total": total}, **fields)


def orders() -> list[Event]:
    """Return the orders of one person per value, and of some people with several orders."""
    found = [bought(number, 1, value) for number, value in enumerate(VALUES)]
    for place, value in enumerate(VALUES):
        found += [bought(100, place, value), bought(101, 5, value), bought(102, 5 + place // 3, value), bought(103, -place, value)]
        found += [bought(104 + place, ago, total) for ago, total in ((3 * DAY, 2), (2, value), (2 * DAY, value), (1, 2))]
    found += [bought(200, 1, 7, flags=("bot",)), bought(201, 1, 7, name="Other")]
    return found


def traits() -> list[Any]:
    where = [{"prop": "total", "op": "ne", "value": 2}]
    found: list[Any] = []
    windows: tuple[dict[str, Any], ...] = ({}, {"within": "2d"})
    for window in windows:
        for kind in ("sum", "avg", "min", "max", "most_frequent", "unique"):
            found.append({kind: {"event": BUY, "prop": "total", **window}})
            found.append({kind: {"event": BUY, "prop": "total", "where": where, **window}})
        found += [{"count": {"event": BUY, **window}}, {"count": {"event": BUY, "where": where, **window}}]
    for kind in ("first", "last"):
        found += [{kind: {"event": BUY, "prop": "total"}}, {"days_since": {"event": BUY, "which": kind}}]
        found += [{kind: {"event": BUY, "prop": "total", "where": where}}]
    return found


async def test_computed_traits(warehouse: Warehouse) -> None:
    events = orders()
    await load_history(warehouse, events)
    plan = segment_plan_of([computed(f"c{number}", spec) for number, spec in enumerate(traits())])
    said = await assert_stream_equals_sql(warehouse, plan, events, {}, AT, AT + 10, AT + DAY - 1, AT + DAY, AT - 2)
    assert all(said["values"].values())


@pytest.mark.parametrize(
    ("values", "favourite"),
    [
        ([10, 9], 9), ([100, 20, 3], 3), ([1, -2, -10], -10), ([0.5, 0.25], 0.25), ([1e22, 3e21], 3e21), ([2e-7, 3], 2e-7),
        ([10, "1"], 10), ([0, True], True), ([True, False], False), (["b", "a", "Đ"], "a"), ([5, 5, 4], 5),
    ],
)  # fmt: skip
async def test_of_equally_frequent_values_both_name_the_one_that_sorts_first(
    warehouse: Warehouse, values: list[Any], favourite: Any
) -> None:
    events = [bought(1, 10 + number, value) for number, value in enumerate(values)]
    await load_history(warehouse, events)
    trait = {"event": BUY, "prop": "total"}
    plan = segment_plan_of(
        [computed("all", {"most_frequent": trait}), computed("in", {"most_frequent": {**trait, "within": "2d"}})]
    )
    answers = await assert_stream_equals_sql(warehouse, plan, events, {}, AT)
    assert [repr(value) for value in answers["values"]["all"].values()] == [repr(favourite)]
    assert answers["values"]["in"] == answers["values"]["all"]


async def test_events_that_nobody_owns_are_in_no_segment(warehouse: Warehouse) -> None:
    calls = [
        event({}, id=f"c{n}:call_started", type="call_started", time_ms=AT - n, properties={"call_id": f"c{n}"}) for n in range(3)
    ]
    known = event({"user_id": "người-1"}, id="m1", type="call_started", time_ms=AT - 1, properties={"call_id": "c9"})
    await load_history(warehouse, [*calls, known])
    plan = segment_plan_of([
        segment("everyone", {"everyone": True}),
        segment("callers", {"did": {"event": "$call_started"}}),
        segment("no-buyers", {"did_not": {"event": BUY, "within": "7d"}}),
        computed("calls", {"count": {"event": "$call_started"}}),
    ])  # fmt: skip
    said = await assert_stream_equals_sql(warehouse, plan, [*calls, known], {}, AT)
    assert said["members"] == {name: [known.owner] for name in ("everyone", "callers", "no-buyers")}


async def test_computed_traits_in_segments(warehouse: Warehouse) -> None:
    events = orders()
    await load_history(warehouse, events)
    specs = [computed(f"c{number}", spec) for number, spec in enumerate(traits())]
    conditions: list[dict[str, Any]] = [
        {"op": "exists"}, {"op": "exists", "value": False}, {"op": "gt", "value": 1}, {"op": "ne", "value": "a"},
        {"op": "contains", "value": 2}, {"value": "hà nội", "fold": True},
    ]  # fmt: skip
    segments = [
        segment(f"{one.metadata.name}-{number}", {"trait": {"path": f"computed.{one.metadata.name}", **condition}})
        for one in specs
        for number, condition in enumerate(conditions)
    ]
    said = await assert_stream_equals_sql(warehouse, segment_plan_of([*specs, *segments]), events, {}, AT)
    assert len({tuple(members) for members in said["members"].values()}) > len(conditions) * 3


def stages() -> list[Event]:
    """Return events of customers whose orders are various numbers of days old, and of identified and anonymous visitors."""
    days = [
        (),
        (1,),
        (89,),
        (90,),
        (179,),
        (180,),
        (1, 2),
        (1, 181),
        (1, 182),
        (5, 4, 3, 2, 1),
        (100, 101),
        (1, 2, 200),
        (10, 200, 201, 202, 203),
    ]
    found = [bought(number, ago * DAY, 1_000_000 * ago) for number, all_days in enumerate(days) for ago in all_days]
    for number, who in enumerate(
        ({"anonymous_id": "a"}, {"email": "a@thu.vn"}, {"device_id": "d"}, {"caller_number": "+84901234567"})
    ):
        found.append(event(who, id=f"v{number}", type="page", time_ms=AT - 5))
    found.append(event({"anonymous_id": "b"}, id="w1", type="page", time_ms=AT - 5))
    found.append(event({"anonymous_id": "b", "phone": "+84901234567"}, id="w2", type="page", time_ms=AT - 4, flags=("bot",)))
    found.append(event({"anonymous_id": "c"}, id="x", name=BUY, time_ms=AT - 4, flags=("bot",)))
    return found


async def test_stages_and_scores(warehouse: Warehouse) -> None:
    events = stages()
    await load_history(warehouse, events)
    names = ("visitor", "lead", "first_time", "active", "loyal", "at_risk", "lost", "won_back")
    leaves: list[Any] = [{"lifecycle": {"stage": [name]}} for name in names]
    leaves += [{"lifecycle": {"stage": ["lost", "lead"]}}, {"lifecycle": {"stage": ["lost"], "of": "none"}}]
    leaves += [{"rfm": {part: [score]}} for part in ("recency", "frequency", "monetary") for score in range(1, 6)]
    leaves += [
        {"rfm": {"recency": [5, 4], "frequency": [1, 2], "monetary": [1, 2, 3]}},
        {"rfm": {"recency": [1], "of": "kỳ".encode().hex()}},
    ]
    leaves += [{"rfm": {"recency": [1], "of": "often"}}, {"lifecycle": {"stage": ["lead"], "of": "often"}}]
    leaves += [
        {"trait": {"path": f"computed.{path}", "op": "exists"}} for path in ("rfm", "rfm.score", "rfm.none", "none", "lifecycle")
    ]
    leaves += [
        {"trait": {"path": "computed.rfm.score", "value": "511"}},
        {"trait": {"path": "computed.lifecycle", "value": "lead"}},
    ]
    mine = {
        "within": "180d",
        "recency": ["1d", "2d", "3d", "90d"],
        "frequency": [0.5, 1.5, 3, 1e15],
        "monetary": [-1, 0, 1e6, 1e15],
    }
    specs = [computed("often", {"count": {"event": BUY}}), computed("mine", {"rfm": mine})]
    segments = [segment(f"s{number}", leaf) for number, leaf in enumerate(leaves)]
    said = await assert_stream_equals_sql(warehouse, segment_plan_of([*specs, *segments]), events, {}, AT - DAY, AT, AT + DAY, AT)
    assert all(said["members"][f"s{number}"] for number in range(len(names)))


async def test_anniversaries_where_the_customer_lives(warehouse: Warehouse) -> None:
    born: tuple[Any, ...] = (
        "1990-02-28", "1992-02-29", "1990-03-01", "1990-03-02", "1990-12-31", "1990-01-01", "1899-03-01", "0001-03-01",
        "9999-03-01", "0000-03-01", "1990-02-29", "1900-02-29", "1990-03-01T23:59:59+07:00", "1990-03-01 whatever",
        "1990-3-1", 19900301, None, "", "1990-13-01",
        "1990-03-00", "1990-03-32", "1990-08-31",
    )  # fmt: skip
    zones: tuple[Any, ...] = (
        None,
        "Asia/Ho_Chi_Minh",
        "Pacific/Kiritimati",
        "Etc/GMT+12",
        "Mars/Olympus",
        "",
        7,
        ["UTC"],
        "asia/ho_chi_minh",
    )
    events = [
        event({"user_id": f"{day} {zone}"}, id="i", type="identify", time_ms=1, traits={"birthday": day, "timezone": zone})
        for day in born
        for zone in zones
    ]
    await load_history(warehouse, events)
    leaves: list[Any] = [
        {"calendar": {"trait": "birthday", "zone": zone, **about}}
        for zone in ("UTC", "Asia/Ho_Chi_Minh", "America/New_York")
        for about in ({}, {"before": 1}, {"before": 2, "days": 3}, {"before": 180, "days": 180})
    ]
    leaves.append({"calendar": {"trait": "computed.none"}})
    plan = segment_plan_of([segment(f"s{number}", leaf) for number, leaf in enumerate(leaves)])
    leap, new_year = 1_709_164_800_000, 1_767_222_000_000
    said = await assert_stream_equals_sql(warehouse, plan, events, {}, leap, leap + DAY, new_year, AT - 1, AT, AT + DAY // 2)
    assert sum(bool(members) for members in said["members"].values()) == len(leaves) - 1


def shared() -> tuple[list[Event], dict[str, str]]:
    """Return the events and labels of three people with several identifiers each, and of one without labels.

    One of the three took over another's cookie.
    """
    nodes = {name: node(SECRET, ("user_id", name)) for name in "abcdefg"}
    labels = {nodes[one]: min(nodes[other] for other in group) for group in ("abc", "de", "f") for one in group}
    events = [
        event({"user_id": name}, id=f"m{n}", name=BUY, time_ms=AT - n, properties={"total": n})
        for n, name in enumerate("abcdefgag")
    ]
    events += [event({"user_id": name}, id="i", type="identify", time_ms=AT - 5, traits={"city": name}) for name in "abcdefg"]
    return events, labels


async def test_profiles_of_several_identifiers(warehouse: Warehouse) -> None:
    events, labels = shared()
    await load_history(warehouse, events, labels)
    leaves: list[Any] = [{"did": {"event": BUY, "at_least": n}} for n in range(1, 6)]
    leaves += [{"trait": {"path": "city", "value": name}} for name in "abcdefg"]
    leaves += [{"list": name} for name in ("some", "other", "empty", "none")]
    leaves += [{"percent": {"of": of, "salt": salt}} for of in (0.01, 12.5, 50, 99.99, 100) for salt in ("a", "thử", "it's")]
    leaves += [
        {"everyone": True},
        {"not": {"everyone": True}},
        {"in_segment": "s0"},
        {"in_segment": "undefined"},
        {"in_segment": "s25"},
    ]
    leaves += [{"not": {"in_segment": "s2"}}, {"all": [{"in_segment": "s1"}, {"not": {"list": "some"}}]}]
    leaves += [
        {
            "any": [
                {"list": "other"},
                {"all": [{"everyone": True}, {"did_not": {"event": BUY}}]},
                {"did": {"event": "$identify", "exactly": 2}},
            ]
        }
    ]
    lists = [
        list_definition("some", [node(SECRET, ("user_id", name)) for name in "bg"]),
        list_definition("other", [node(SECRET, ("user_id", "f")), *(f"{number:032x}" for number in range(4_999))]),
        list_definition("empty", []),
    ]
    plan = segment_plan_of([*(segment(f"s{number}", leaf) for number, leaf in enumerate(leaves)), *lists])
    said = await assert_stream_equals_sql(warehouse, plan, events, labels, AT - 3, AT)
    assert len({tuple(members) for members in said["members"].values()}) > 8


async def test_the_first_arrival_of_an_id_counts_and_the_newest_label(warehouse: Warehouse) -> None:
    events = [
        event({"user_id": "a"}, id="m", name=BUY, time_ms=AT - 5, properties={"total": 1}),
        event({"user_id": "a"}, id="m", name="Other", time_ms=AT - 9, properties={"total": 2}),
        event({"user_id": "b"}, id="m", name="Other", time_ms=AT - 3, properties={"total": 3}),
        event({"user_id": "b"}, id="m", name=BUY, time_ms=AT - 4, properties={"total": 4}),
    ]
    a, b = (node(SECRET, ("user_id", name)) for name in "ab")
    await load_history(warehouse, events, {a: a, b: a})
    await warehouse.command("INSERT INTO labels (node, profile_id, version) VALUES ({b:String}, {b:String}, 2)", {"b": b})
    leaves: Sequence[Any] = [{"did": {"event": BUY}}, {"did": {"event": "Other"}}, {"did_not": {"event": BUY}}]
    plan = segment_plan_of([segment(f"s{number}", leaf) for number, leaf in enumerate(leaves)])
    found = await sql_answers(warehouse, plan, AT)
    assert found["members"] == {"s0": [a], "s1": [b], "s2": [b]}
    assert found == stream_answers(plan, stream_facts(plan, events, {a: a, b: b}, AT), AT)


async def test_the_whole_of_the_query_is_bound(warehouse: Warehouse) -> None:
    nasty = "x') OR 1=1 --{p0:String}"
    person = {"user_id": "a"}
    events = [event(person, id="m", name=nasty, time_ms=AT, properties={nasty: nasty, "a": {nasty: 1}})]
    await load_history(warehouse, events)
    where: list[dict[str, Any]] = [{"prop": nasty, "op": op, "value": nasty} for op in ("eq", "contains", "starts_with", "gte")]
    where += [{"prop": nasty, "op": "in", "value": [nasty, "y"]}, {"prop": f"a.{nasty}", "value": 1}]
    leaves: list[Any] = [
        {"did": {"event": nasty, "where": where}},
        {"consent": {"purpose": nasty}},
        {"subscribed": {"channel": nasty}},
    ]
    leaves += [{"trait": {"path": nasty, "value": nasty}}]
    leaves += [{"percent": {"of": 50, "salt": nasty}}]
    leaves += [{"household": {"did": {"event": nasty}, "trait": {"path": nasty, "value": nasty}}}]
    leaves += [{"account": {"trait": {"path": nasty, "value": nasty}}}]
    plan = segment_plan_of(
        [*(segment(f"s{n}", leaf) for n, leaf in enumerate(leaves)), computed("c", {"first": {"event": nasty, "prop": nasty}})]
    )
    said = await assert_stream_equals_sql(warehouse, plan, events, {}, AT)
    assert said["members"]["s0"]
    assert said["values"]["c"]
    queries = [*(membership_query(plan, name, AT) for name in plan.segments), computed_values_query(plan, "c", AT)]
    assert not any("OR 1=1" in query.sql for query in queries)
