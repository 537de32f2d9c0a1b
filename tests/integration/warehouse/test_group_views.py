"""The SQL views of accounts and households, on a real ClickHouse engine, equal the documents that segments read."""

import json
import random
from collections.abc import Sequence

import pytest

from consumers.feeds import FEEDS
from domain.definitions.kinds import Segment, load_yaml
from domain.identity.groups import (
    GroupDocument,
    account_facts,
    decode_group,
    documents_from_records,
    household_facts,
    membership_groups_from_records,
)
from domain.identity.households import group_kind
from domain.identity.rules import CompiledIdentityRules, HouseholdRules
from domain.profiles.membership import decode_membership
from schemas.events import Event, EventType
from tests.support.events import START_MS, event
from tests.support.simulated_pipeline import Pipeline
from warehouse.client import Warehouse
from warehouse.group_records import stream_group_records
from warehouse.writer import ClickHouseWriter

pytestmark = pytest.mark.clickhouse
RULE = HouseholdRules(
    id_trait="household_id",
    address_trait="address",
    landline=True,
    shared_phone=True,
    shared_traits=("city", "tầng"),
    max_members=4,
)
TEXT = """
apiVersion: onefold/v1
kind: Segment
metadata: {name: buying-home}
spec: {where: {household: {did: {event: Order Completed, at_least: 1000}}}}
"""
SEGMENTS = [document for document in load_yaml(TEXT, "test") if isinstance(document, Segment)]
ADDRESSES = ("12 Trần Hưng Đạo, P.5, Huế", "12 tran hung dao phuong 5, thanh pho hue", "9 Lê Lợi, Hà Nội")
PHONES = ("+842838221234", "+84901234567", "+84901234568")


def history(rng: random.Random, count: int) -> list[Event]:
    """Return events of people who share devices, numbers, addresses and accounts."""
    events = []
    for number in range(count):
        user = {"user_id": f"khách-{rng.randrange(12)}"}
        if rng.random() < 0.2:
            user |= {"anonymous_id": f"cookie-{rng.randrange(5)}"}
        kind: EventType = rng.choice(("identify", "group", "track"))
        traits = {
            "identify": {
                "secret": "điều riêng tư",
                "address": rng.choice((*ADDRESSES, None)),
                "city": rng.choice(("Huế", 'Hà "Nội"', None)),
                "tầng": rng.choice((3, None)),
                "household_id": rng.choice(("nhà 1", None, None)),
            },
            "group": {"plan": rng.choice(("enterprise", None)), "số ghế": rng.randrange(9)} if rng.random() < 0.6 else {},
        }
        events.append(
            event(
                user | ({"phone": rng.choice(PHONES)} if kind == "identify" and rng.random() < 0.5 else {}),
                id=f"m{number}",
                type=kind,
                name=rng.choice(("Order Completed", "Product Viewed")) if kind == "track" else "",
                time_ms=START_MS + rng.randrange(20) * 1_000,
                properties={"groupId": rng.choice(("Công ty A", "b"))} if kind == "group" else {},
                traits=traits.get(kind, {}),
            )
        )
    return events


async def consume(pipeline: Pipeline, writer: ClickHouseWriter) -> None:
    """Insert everything that the pipeline published, twice."""
    for feed in FEEDS:
        records = [record for (topic, _), log in pipeline.logs.items() if topic == feed.topic for record in log]
        for _ in range(2):
            for table, rows in feed.decide(records, pipeline.settings, 0).rows.items():
                await writer.insert(table, rows)


async def documents(pipeline: Pipeline) -> dict[str, GroupDocument]:
    return {name: decode_group(data) async for name, data in pipeline.store.scan("group")}


async def counted(pipeline: Pipeline, members: Sequence[str]) -> dict[str, int]:
    total: dict[str, int] = {}
    for name in members:
        for label, count in pipeline.profiles()[name].counters.items():
            total[label] = total.get(label, 0) + count
    return total


@pytest.mark.parametrize("seed", range(4))
async def test_group_views_equal_group_documents(warehouse: Warehouse, seed: int) -> None:
    rng = random.Random(seed)
    pipeline = Pipeline(rng, SEGMENTS, crash_rate=0.2, rules=CompiledIdentityRules(household=RULE))
    for item in history(rng, 150):
        pipeline.feed(item)
        if rng.random() < 0.2:
            await pipeline.drain()
    await pipeline.drain()
    await consume(pipeline, ClickHouseWriter(warehouse))
    await warehouse.command("SYSTEM RELOAD DICTIONARY label_dictionary")
    group_documents = await documents(pipeline)
    accounts, households = {}, {}
    for name, group in group_documents.items():
        members = group.members()
        if group_kind(name) == "account":
            seen = account_facts(group)
            accounts[name] = (group.name, seen.traits, members, len(members))
        elif (home := household_facts(group, RULE)) is not None:
            households[name] = (members, len(members), home.traits, await counted(pipeline, members))
            assert home.counters.get("Order Completed", 0) == households[name][3].get("Order Completed", 0)
    view_rows = await warehouse.query("SELECT account_id, account, traits, members, size FROM accounts")
    assert {row[0]: (row[1], json.loads(row[2]), row[3], row[4]) for row in view_rows} == accounts
    view_rows = await warehouse.query("SELECT household_id, members, size, traits, counters FROM households")
    assert {row[0]: (row[1], row[2], json.loads(row[3]), row[4]) for row in view_rows} == households
    assert accounts
    assert households
    everyone = {row[0] for row in await warehouse.query("SELECT DISTINCT profile_id FROM household_members")}
    assert everyone == {name for home in households.values() for name in home[0]}


async def test_group_documents_are_rebuilt_from_contributions(warehouse: Warehouse) -> None:
    rng = random.Random(9)
    pipeline = Pipeline(rng, SEGMENTS, crash_rate=0.2, rules=CompiledIdentityRules(household=RULE))
    for item in history(rng, 120):
        pipeline.feed(item)
    await pipeline.drain()
    await consume(pipeline, ClickHouseWriter(warehouse))
    contributions = [contribution async for contribution in stream_group_records(warehouse)]
    assert documents_from_records(contributions) == await documents(pipeline)
    rebuilt = membership_groups_from_records(contributions)
    async for profile_id, data in pipeline.store.scan("membership"):
        document = decode_membership(data)
        assert rebuilt.get(profile_id, ({}, 0)) == (dict.fromkeys(document.emitted_group_hashes, ""), document.group_seq)


async def test_a_merged_member_is_shown_under_its_new_profile(warehouse: Warehouse) -> None:
    pipeline = Pipeline(random.Random(1), SEGMENTS)
    pipeline.feed(event({"anonymous_id": "c1"}, id="m1", type="group", properties={"groupId": "Công ty A"}))
    await pipeline.drain()
    pipeline.feed(event({"anonymous_id": "c1", "user_id": "u1"}, id="m2", name="Signed In"))
    for topic in ("events", "links"):
        while waiting_partition := next(
            (waiting_partition for waiting_partition in pipeline.uncommitted() if waiting_partition[0] == topic), None
        ):
            await pipeline.run_slice(*waiting_partition)
    await consume(pipeline, ClickHouseWriter(warehouse))
    await warehouse.command("SYSTEM RELOAD DICTIONARY label_dictionary")
    current = event({"user_id": "u1"}, id="any").owner
    assert await warehouse.query("SELECT account, members, size FROM accounts") == [("Công ty A", [current], 1)]
    await pipeline.drain()
    await consume(pipeline, ClickHouseWriter(warehouse))
    assert await warehouse.query("SELECT account, members, size FROM accounts") == [("Công ty A", [current], 1)]
