"""The tables of evidence, decisions and members, on a real ClickHouse engine, equal MemoryWriter and the joins of the domain."""

import random
from collections.abc import Sequence
from typing import Any

import pytest

from domain.identity.evidence import add_decision, add_edge, edge_of_link
from domain.identity.model import Decision, Decisions, Edge, Edges
from runtime.bus.port import Record
from runtime.settings import Settings
from schemas.instants import DAY_MS
from schemas.records import DecisionAction, Identity, Link, LinkDecision, LinkRecord, Profile, ReclusterRequest, TraitValue
from tests.support.events import event
from warehouse import named_queries, rows
from warehouse.client import Warehouse
from warehouse.group_records import stream_group_records
from warehouse.migrate import migrate
from warehouse.tables import DECISIONS, EVENT_STORE, EVIDENCE, IDENTITIES, LABELS, PROFILES, Table
from warehouse.writer import ClickHouseWriter, MemoryWriter, WarehouseWriter

pytestmark = pytest.mark.clickhouse
RECORD = Record("onefold.links", 0, 0, 0, None, None)
NAMES = ("", "a", "ạ", "đ", "m1", "Nguyễn", "\U0001f600", "\uffff")
PAIRS = (("0a", "2b"), ("0a", "3c"), ("2b", "3c"))


def links(rng: random.Random, count: int) -> list[LinkRecord]:
    """Return evidence with every kind of tie, from few instants on few days and few names."""

    def instant() -> int:
        return rng.choice((-3, 0, 20_000)) * DAY_MS + rng.choice((-1, 0, 1, DAY_MS - 1))

    evidence: list[LinkRecord] = []
    for _ in range(count):
        a, b = rng.choice(PAIRS)
        first, last = instant(), instant()
        evidence.append(
            Link(
                a=a, b=b, first_ms=first, first_event=rng.choice(NAMES), last_ms=last, last_event=rng.choice(NAMES),
                source=rng.choice(NAMES), owner=rng.choice(NAMES), rule=rng.choice(("together", "alias")), rules=rng.choice(NAMES),
                trusted=rng.random() < 0.5,
            )
        )  # fmt: skip
    return evidence


def decisions(rng: random.Random, count: int) -> list[LinkRecord]:
    """Return decisions with every kind of tie, among them the same operation with another text."""
    records: list[LinkRecord] = []
    for _ in range(count):
        action: DecisionAction = rng.choice(("cut", "split", "undo"))
        records.append(
            LinkDecision(
                operation=f"o{rng.randrange(4)}",
                action=action,
                pairs=tuple((rng.choice(("cut", "apart")), *rng.choice(PAIRS)) for _ in range(2)),
                on=rng.random() < 0.5,
                at_ms=rng.choice((-5, 0, 1_750_000_000_000)),
                of=rng.choice(NAMES),
                by="Ánh",
                reason="máy tính bảng dùng chung",
            )
        )
    return records


def identities(rng: random.Random, count: int) -> list[Identity]:
    return [
        Identity(
            profile_id=(name := rng.choice(("0a", "2b", "3c"))),
            members=tuple(rng.sample(("0a", "2b", "3c"), rng.randrange(4))),
            label_version=version,
            merged_into="" if name == "0a" else "0a",
            split_from=rng.choice(NAMES),
            cause=rng.choice(NAMES),
            at_ms=version,
        )
        for version in range(1, count + 1)
    ]


async def stored_rows(warehouse: Warehouse, table: Table) -> list[tuple[Any, ...]]:
    names = ", ".join(
        f"toUnixTimestamp64Milli(`{column.name}`)" if column.type.startswith("DateTime64") else f"`{column.name}`"
        for column in table.columns
    )
    query_rows = await warehouse.query(f"SELECT {names} FROM {table.name} FINAL")  # noqa: S608 - a table's own name
    return sorted(tuple(row) for row in query_rows)


async def insert_records(writer: WarehouseWriter, records: Sequence[LinkRecord | Identity]) -> None:
    """Insert the rows that the consumers write for these records."""
    for record in records:
        if isinstance(record, Identity):
            await writer.insert(LABELS, rows.label_rows(RECORD, record))
            await writer.insert(IDENTITIES, rows.identity_rows(RECORD, record))
        else:
            await writer.insert(EVIDENCE, rows.evidence_rows(RECORD, record))
            await writer.insert(DECISIONS, rows.decision_rows(RECORD, record))


@pytest.mark.parametrize("seed", range(4))
async def test_rows_inserted_in_any_order_and_repeatedly_equal_the_joins(warehouse: Warehouse, seed: int) -> None:
    rng = random.Random(seed)
    records: list[LinkRecord] = [*links(rng, 40), *decisions(rng, 20), ReclusterRequest(nodes=("0a",), rules_number=3)]
    edges: Edges = {}
    joined_decisions: Decisions = {}
    for record in records:
        if isinstance(record, Link):
            add_edge(edges, (record.a, record.b), edge_of_link(record))
        elif isinstance(record, LinkDecision):
            add_decision(joined_decisions, record)
    shuffled = [*records, *rng.choices(records, k=20)]
    rng.shuffle(shuffled)
    await insert_records(ClickHouseWriter(warehouse), shuffled)
    assert {(a, b): Edge(*rest) for a, b, *rest in await named_queries.fetch_rows(warehouse, "evidence")} == edges
    stored_decisions = {
        (kind, a, b): Decision(*rest) for kind, a, b, *rest in await named_queries.fetch_rows(warehouse, "decisions")
    }
    assert stored_decisions == joined_decisions
    await warehouse.command("OPTIMIZE TABLE pair_evidence FINAL")
    assert {(a, b): Edge(*rest) for a, b, *rest in await named_queries.fetch_rows(warehouse, "evidence")} == edges
    twin = MemoryWriter()
    await twin.insert(EVIDENCE, [rows.evidence_row(a, b, edge) for (a, b), edge in edges.items()])
    assert await stored_rows(warehouse, EVIDENCE) == twin.rows(EVIDENCE)


@pytest.mark.parametrize("seed", range(2))
async def test_memory_writer_and_clickhouse_have_the_same_rows(warehouse: Warehouse, seed: int) -> None:
    rng = random.Random(seed)
    log: list[LinkRecord | Identity] = [*links(rng, 30), *decisions(rng, 20), *identities(rng, 20)]
    again = [*log[::2], *log]
    writer, twin = ClickHouseWriter(warehouse), MemoryWriter()
    for target in (writer, twin):
        await insert_records(target, again)
    for table in (EVIDENCE, DECISIONS, IDENTITIES, LABELS):
        assert await stored_rows(warehouse, table) == sorted(twin.rows(table))


async def test_an_operation_is_stored_whole_and_the_latest_come_first(warehouse: Warehouse) -> None:
    cut = LinkDecision(
        operation="o1",
        action="split",
        pairs=(("cut", "0a", "2b"), ("apart", "0a", "3c")),
        on=True,
        at_ms=10,
        by="Trần Ánh",
        reason="hai người",
    )
    undo = LinkDecision(operation="o2", action="undo", pairs=cut.pairs, on=False, at_ms=20, of="o1", by="Trần Ánh")
    for _ in range(2):
        await insert_records(ClickHouseWriter(warehouse), [undo, cut])
    assert await named_queries.fetch_rows(warehouse, "operation", operation="o1") == [
        ("split", "apart", "0a", "3c", True, 10, "", "Trần Ánh", "hai người"),
        ("split", "cut", "0a", "2b", True, 10, "", "Trần Ánh", "hai người"),
    ]
    assert await named_queries.fetch_rows(warehouse, "operation", operation="o3") == []
    latest = ("o2", "undo", False, 20, "o1", "Trần Ánh", "", 2)
    assert await named_queries.fetch_rows(warehouse, "operations", limit=1) == [latest]
    assert sorted(await named_queries.fetch_rows(warehouse, "decisions")) == [
        ("apart", "0a", "3c", False, 20, "o2"),
        ("cut", "0a", "2b", False, 20, "o2"),
    ]
    assert await warehouse.query("SELECT count(), min(toUnixTimestamp64Milli(at)) FROM identity_decisions") == [(4, 10)]


async def test_evidence_is_shown_with_readable_times(warehouse: Warehouse) -> None:
    link = Link(
        a="0a", b="2b", first_ms=1_750_000_000_000, first_event="m1", last_ms=1_750_000_100_000, last_event="m2", source="web",
        owner="2b", rule="alias", rules="default", trusted=False,
    )  # fmt: skip
    await insert_records(ClickHouseWriter(warehouse), [link])
    query = """SELECT toString(first_seen), toString(last_seen), first_event, last_event, source, owner, rule, rules, trusted
        FROM identity_evidence"""
    assert await warehouse.query(query) == [
        ("2025-06-15 15:06:40.000", "2025-06-15 15:08:20.000", "m1", "m2", "web", "2b", "alias", "default", False)
    ]


async def test_evidence_of_the_first_version_stays_readable(clickhouse_settings: Settings) -> None:
    await migrate(clickhouse_settings)
    warehouse = await Warehouse.connect(clickhouse_settings)
    day = 20_000
    for pair, first_ms, message, source, last_day in (
        (("0a", "2b"), day * DAY_MS + 5, "m1", "web", day + 2),
        (("0a", "2b"), day * DAY_MS + 9, "m9", "app", day),
        (("0a", "3c"), day * DAY_MS + 7, "m7", "web", day),
    ):
        values = "SELECT {a:String}, {b:String}, ({first_ms:Int64}, {message:String}, {source:String}), {last_day:Int64}"
        await warehouse.command(
            f"INSERT INTO links {values}",
            {"a": pair[0], "b": pair[1], "first_ms": first_ms, "message": message, "source": source, "last_day": last_day},
        )
    await warehouse.command("DELETE FROM migrations WHERE number >= 5")
    for _ in range(2):  # cut off before it was noted, and again
        assert "0005_evidence" in await migrate(clickhouse_settings)
        await warehouse.command("DELETE FROM migrations WHERE number = 5")
    first = Edge(day * DAY_MS + 5, "m1", (day + 2) * DAY_MS, "m1", "web")
    second = Edge(day * DAY_MS + 7, "m7", day * DAY_MS + 7, "m7", "web")
    migrated = {(a, b): Edge(*rest) for a, b, *rest in await named_queries.fetch_rows(warehouse, "evidence")}
    assert migrated == {("0a", "2b"): first, ("0a", "3c"): second}
    assert await warehouse.query("SELECT count() FROM links") == [(0,)]
    await warehouse.aclose()


async def test_what_was_stored_before_there_was_trust_counts_as_trusted(clickhouse_settings: Settings) -> None:
    await migrate(clickhouse_settings)
    warehouse = await Warehouse.connect(clickhouse_settings)
    await warehouse.command("DELETE FROM migrations WHERE number >= 13")
    pair = "SELECT '0a', '2b', (5, 'm1', 'web', '2b', 'together', 'r'), (-1, 86400005, 'm2')"
    await warehouse.command(f"INSERT INTO evidence_store (a, b, first, last) {pair}")
    await warehouse.command("INSERT INTO account_trait_store SELECT 'a1', 'Công ty Ánh', 'ghế', (5, 'm1', '12')")
    contribution = "SELECT 'h1', '0a', 'household', '', true, 7, 1, 20, map('city', (5, 'm1', '\"Huế\"')), map('Đặt hàng', 2), 0"
    columns = "group_id, profile_id, kind, name, present, seq, rank, most, traits, counters, at"
    await warehouse.command(f"INSERT INTO contribution_store ({columns}) {contribution}")
    for _ in range(2):  # cut off before it was noted, and again
        assert "0013_trust" in await migrate(clickhouse_settings)
        await warehouse.command("DELETE FROM migrations WHERE number = 13")
    evidence = {(a, b): Edge(*rest) for a, b, *rest in await named_queries.fetch_rows(warehouse, "evidence")}
    assert evidence == {("0a", "2b"): Edge(5, "m1", DAY_MS + 5, "m2", "web", "2b", "together", "r", trusted=True)}
    records = [record async for record in stream_group_records(warehouse)]
    assert [record.traits for record in records] == [
        {"ghế": TraitValue(12, 5, "m1", trusted=True)},
        {"city": TraitValue("Huế", 5, "m1", trusted=True)},
    ]
    await warehouse.aclose()


async def test_old_events_follow_a_merge_and_a_split_at_once(warehouse: Warehouse) -> None:
    writer = ClickHouseWriter(warehouse)
    cookie, user, lone = (
        event({"anonymous_id": "cookie"}, id="m1"),
        event({"user_id": "Ánh"}, id="m2"),
        event({"user_id": "u2"}, id="m3"),
    )
    await writer.insert(EVENT_STORE, [rows.event_row(RECORD, item) for item in (cookie, user, lone)])
    root, other = sorted((cookie.owner, user.owner))

    async def seen(view: str) -> dict[str, str]:
        return dict(await warehouse.query(f"SELECT id, profile_id FROM {view}"))  # noqa: S608 - a test's own view

    async def reloaded() -> dict[str, str]:
        await warehouse.command("SYSTEM RELOAD DICTIONARY label_dictionary")
        return await seen("events")

    alone = {"m1": cookie.owner, "m2": user.owner, "m3": lone.owner}
    assert await seen("events_now") == alone
    merged = Identity(profile_id=root, members=(root, other), label_version=5, cause="m2", at_ms=50)
    gone = Identity(profile_id=other, members=(), label_version=5, merged_into=root, cause="m2", at_ms=50)
    await insert_records(writer, [gone, merged])
    assert await seen("events_now") == await reloaded() == {"m1": root, "m2": root, "m3": lone.owner}
    back = Identity(profile_id=other, members=(other,), label_version=9, split_from=root, cause="o1", at_ms=90)
    rest = Identity(profile_id=root, members=(root,), label_version=9, cause="o1", at_ms=90)
    await insert_records(writer, [back, rest, merged])
    assert await seen("events_now") == await reloaded() == alone
    changes = await named_queries.fetch_rows(warehouse, "identity_changes", profile_ids=[root, other])
    assert changes == sorted(
        [
            (root, 5, [root, other], "", "", "m2", 50),
            (other, 5, [], root, "", "m2", 50),
            (root, 9, [root], "", "", "o1", 90),
            (other, 9, [other], "", root, "o1", 90),
        ],
        key=lambda row: (row[6], row[0]),
    )
    renewed = Identity(profile_id=root, members=(root,), label_version=12, cause="o1", at_ms=90)
    await insert_records(writer, [renewed])
    assert await named_queries.fetch_rows(warehouse, "identity_changes", profile_ids=[root, other]) == changes
    assert await named_queries.fetch_rows(warehouse, "newest_label_version") == [(12,)]


async def test_every_column_of_events_is_the_same_at_once(warehouse: Warehouse) -> None:
    stored_event = event({"user_id": "Nguyễn Thị Ánh"}, id="m1", properties={"món": "áo dài"})
    await ClickHouseWriter(warehouse).insert(EVENT_STORE, [rows.event_row(RECORD, stored_event)])
    await warehouse.command("SYSTEM RELOAD DICTIONARY label_dictionary")
    assert await warehouse.query("SELECT * FROM events_now") == await warehouse.query("SELECT * FROM events")
    described = (
        "SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = {view:String} ORDER BY position"
    )
    assert await warehouse.query(described, {"view": "events_now"}) == await warehouse.query(described, {"view": "events"})


async def test_event_is_read_with_its_identifiers(warehouse: Warehouse) -> None:
    earlier = event({"user_id": "Ánh", "email": "anh@shop.vn"}, id="m1", name="Đặt hàng")
    later = event({"user_id": "Ánh"}, id="m2")
    await ClickHouseWriter(warehouse).insert(EVENT_STORE, [rows.event_row(RECORD, item) for item in (earlier, later)])
    assert await named_queries.fetch_rows(warehouse, "event", owner=earlier.owner, id="m1") == [
        ("track", "Đặt hàng", "default", earlier.time_ms, earlier.received_ms, list(earlier.nodes))
    ]
    assert await named_queries.fetch_rows(warehouse, "event", owner=earlier.owner, id="m9") == []
    identifiers = [(node, *identifier) for node, identifier in zip(earlier.nodes, earlier.identifiers, strict=True)]
    assert sorted(await named_queries.fetch_rows(warehouse, "identifiers")) == sorted(identifiers)


async def test_dissolved_and_vacant_profiles_are_stored_but_not_shown(warehouse: Warehouse) -> None:
    writer = ClickHouseWriter(warehouse)
    for name, members, into in (("0a", ("0a",), ""), ("2b", (), "0a"), ("3c", (), "")):
        profile = Profile(
            profile_id=name, members=members, label_version=3, merged_into=into, split_from="5e", identifiers=(), traits={},
            counters={}, first_seen_ms=1, last_seen_ms=2, segments=(), updated_ms=4,
        )  # fmt: skip
        await writer.insert(PROFILES, rows.profile_rows(RECORD, profile))
    assert await warehouse.query("SELECT count(), any(split_from) FROM profile_store FINAL") == [(3, "5e")]
    assert await warehouse.query("SELECT profile_id FROM profiles") == [("0a",)]
