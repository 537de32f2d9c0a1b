"""Accounts and households in SQL: who the stream says is in a segment that looks at them, after merges and departures."""

import random
from typing import Any, Final

import pytest

from consumers.feeds import FEEDS
from domain.definitions.segment_plan import segment_plan_of
from domain.identity.rules import CompiledIdentityRules, HouseholdRules
from domain.segments.sql.compile import membership_query
from schemas.events import Event, EventType
from tests.support.events import START_MS, event
from tests.support.segments import segment
from tests.support.simulated_pipeline import Pipeline
from warehouse.client import Warehouse
from warehouse.writer import ClickHouseWriter

pytestmark = pytest.mark.clickhouse
RULE = HouseholdRules(
    id_trait="household_id",
    landline=True,
    shared_phone=True,
    shared_traits=("city", "địa chỉ", "a", "a.b"),
    max_members=4,
)
PHONES: Final = ("+842838221234", "+84901234567")
TRAITS: Final[tuple[dict[str, Any], ...]] = (
    {"path": "city", "value": "Huế"}, {"path": "city", "op": "ne", "value": "Huế"},
    {"path": "city", "op": "exists", "value": False},
    {"path": "city", "value": "hue", "fold": True}, {"path": "a.b", "value": 1}, {"path": "địa chỉ", "op": "exists"},
    {"path": "plan", "value": "enterprise"}, {"path": "số ghế", "op": "gte", "value": 4},
    {"path": "plan", "op": "exists", "value": False},
)  # fmt: skip
LEAVES: Final[list[dict[str, Any]]] = [
    *({kind: {"trait": trait}} for kind in ("account", "household") for trait in TRAITS),
    *({kind: {"members": {"at_least": size}}} for kind in ("account", "household") for size in (1, 2, 3, 4)),
    *({"household": {"did": {"event": name, "at_least": least}}} for name in ("Order Completed", "it's") for least in (1, 3, 9)),
    {"account": {"trait": TRAITS[7], "members": {"at_least": 2}}},
    {"household": {"trait": TRAITS[0], "members": {"at_least": 2}, "did": {"event": "Order Completed", "at_least": 2}}},
]


def history(rng: random.Random) -> list[Event]:
    """Return events of people who share cookies, numbers, households and accounts, and whose traits change."""
    found = []
    for number in range(120):
        who = {"user_id": f"khách-{rng.randrange(14)}"} | (
            {"anonymous_id": f"cookie-{rng.randrange(6)}"} if rng.random() < 0.15 else {}
        )
        kind: EventType = rng.choice(("identify", "group", "track"))
        said: dict[str, Any] = {}
        if kind == "identify":
            who |= {"phone": rng.choice(PHONES)} if rng.random() < 0.2 else {}
            said = {
                "city": rng.choice(("Huế", "Hà Nội", None)),
                "household_id": rng.choice(("nhà 1", "nhà 2", None, None)),
                "địa chỉ": rng.choice(("12 Lê Lợi", None)),
                rng.choice(("a", "a.b")): rng.choice(({"b": 1}, 1, None)),
            }
        elif kind == "group" and rng.random() < 0.6:
            said = {"plan": rng.choice(("enterprise", None)), "số ghế": rng.randrange(9), "city": rng.choice(("Huế", None))}
        found.append(
            event(
                who,
                id=f"m{number}",
                type=kind,
                name=rng.choice(("Order Completed", "it's")) if kind == "track" else "",
                time_ms=START_MS + rng.randrange(20) * 1_000,
                properties={"groupId": rng.choice(("Công ty A", "b", "c"))} if kind == "group" else {},
                traits=said,
                flags=("bot",) if rng.random() < 0.1 else (),
            )
        )
    return found


@pytest.mark.parametrize("seed", range(3))
async def test_groups_in_sql_are_those_of_the_stream(warehouse: Warehouse, seed: int) -> None:
    rng = random.Random(seed)
    segments = [segment(f"s{number}", leaf) for number, leaf in enumerate(LEAVES)]
    pipeline = Pipeline(rng, segments, crash_rate=0.1, rules=CompiledIdentityRules(household=RULE))
    for one in history(rng):
        pipeline.feed(one)
        if rng.random() < 0.2:
            await pipeline.drain()
    await pipeline.drain()
    writer = ClickHouseWriter(warehouse)
    for feed in FEEDS:
        records = [record for (topic, _), log in pipeline.logs.items() if topic == feed.topic for record in log]
        for table, rows in feed.decide(records, pipeline.settings, 0).rows.items():
            await writer.insert(table, rows)
    current = {name: one for name, one in pipeline.profiles().items() if one.members and not one.merged_into}
    plan, mixed = segment_plan_of(segments), 0
    for number, leaf in enumerate(LEAVES):
        query = membership_query(plan, f"s{number}", START_MS + 86_400_000)
        said = {row[0] for row in await warehouse.query(query.sql, query.parameters)}
        assert said == {name for name, one in current.items() if f"s{number}" in one.segments}, leaf
        mixed += 0 < len(said) < len(current)
    assert mixed > len(LEAVES) / 2
