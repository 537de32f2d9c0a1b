"""Migrations, tables and named queries of the warehouse, on a real ClickHouse engine."""

import json
import random

import msgspec
import pytest
from pydantic import SecretStr

from runtime.bus.port import Record
from runtime.errors import Misconfigured, OnefoldError, Permanent, Transient
from runtime.settings import Settings
from schemas.records import Profile, QuarantineRecord
from tests.support.events import event
from tests.support.transitions import transition
from warehouse import named_queries, rows
from warehouse.client import Warehouse
from warehouse.migrate import load_migrations, migrate
from warehouse.tables import EVENT_STORE, LABELS, LEDGER, PROFILES, QUARANTINE, SETTLEMENTS, TABLES, TRANSITIONS
from warehouse.writer import ClickHouseWriter, MemoryWriter

pytestmark = pytest.mark.clickhouse


def record(offset: int) -> Record:
    return Record("onefold.events", 0, offset, 0, None, None)


async def count(warehouse: Warehouse, table: str) -> int:
    return int((await warehouse.query(f"SELECT count() FROM {table}"))[0][0])  # noqa: S608 - a test's own table


async def test_migrations_are_applied_once(clickhouse_settings: Settings) -> None:
    assert await migrate(clickhouse_settings) == [migration.name for migration in load_migrations()]
    assert await migrate(clickhouse_settings) == []


async def test_an_interrupted_migration_is_completed(clickhouse_settings: Settings) -> None:
    await migrate(clickhouse_settings)
    warehouse = await Warehouse.connect(clickhouse_settings)
    await warehouse.command("DELETE FROM migrations WHERE number = 3")
    await warehouse.command("DROP VIEW memberships")
    assert await migrate(clickhouse_settings) == ["0003_profiles"]
    assert await count(warehouse, "memberships") == 0
    await warehouse.aclose()


async def test_a_migration_that_was_changed_is_refused(clickhouse_settings: Settings) -> None:
    await migrate(clickhouse_settings)
    warehouse = await Warehouse.connect(clickhouse_settings)
    await warehouse.command("INSERT INTO migrations SELECT 1, 'other', 'of another text'")
    with pytest.raises(Misconfigured, match="0001_events"):
        await migrate(clickhouse_settings)
    await warehouse.aclose()


async def test_every_table_has_the_columns_that_are_inserted(warehouse: Warehouse) -> None:
    for table in TABLES:
        column_types = dict(
            await warehouse.query(
                "SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = {table:String}",
                {"table": table.name},
            )
        )
        assert {column.name for column in table.columns} <= column_types.keys()


async def test_a_repeated_batch_changes_no_count_and_the_first_arrival_stays(warehouse: Warehouse) -> None:
    rng = random.Random(5)
    writer, twin = ClickHouseWriter(warehouse), MemoryWriter()
    arrivals = [
        (record(n), event({"user_id": f"khách-{n % 7}"}, id=f"m{n % 20}", properties={"lần": n}, time_ms=1_750_000_000_000 + n))
        for n in range(60)
    ]
    for _ in range(3):
        rng.shuffle(arrivals)
        for target in (writer, twin):
            await target.insert(EVENT_STORE, [rows.event_row(source_record, arrived) for source_record, arrived in arrivals])
            await target.insert(LEDGER, [rows.stored_ledger_row(source_record, arrived) for source_record, arrived in arrivals])
    query = "SELECT owner, id, offset, properties, toUnixTimestamp64Milli(time) FROM event_store FINAL ORDER BY owner, id"
    column_indexes = [EVENT_STORE.column_index(name) for name in ("owner", "id", "offset", "properties", "time")]
    assert await warehouse.query(query) == [tuple(row[index] for index in column_indexes) for row in twin.rows(EVENT_STORE)]
    assert await count(warehouse, "ledger FINAL") == 60
    checkpoints = {"partitions": [0], "positions": [60]}
    stored, booked, messages, _, _, earlier = (await named_queries.fetch_rows(warehouse, "account", **checkpoints, first_offset=2))[
        0
    ]
    assert earlier == 2
    assert stored == len(twin.rows(EVENT_STORE))
    assert booked == 60
    assert messages == len(twin.rows(EVENT_STORE))


async def test_the_account_reads_up_to_the_position_only(warehouse: Warehouse) -> None:
    writer = ClickHouseWriter(warehouse)
    arrivals = [(record(n), event({"user_id": f"u{n}"}, id=f"m{n}")) for n in range(10)]
    await writer.insert(EVENT_STORE, [rows.event_row(source_record, arrived) for source_record, arrived in arrivals])
    await writer.insert(LEDGER, [rows.stored_ledger_row(source_record, arrived) for source_record, arrived in arrivals[:7]])
    assert (await named_queries.fetch_rows(warehouse, "account", partitions=[0], positions=[4], first_offset=0))[0][:3] == (4, 4, 4)


async def test_labels_out_of_order_give_the_newest_profile(warehouse: Warehouse) -> None:
    writer = ClickHouseWriter(warehouse)
    first, second = event({"anonymous_id": "cookie"}, id="m1"), event({"user_id": "u1"}, id="m2")
    lone = event({"user_id": "u2"}, id="m3")
    await writer.insert(EVENT_STORE, [rows.event_row(record(n), item) for n, item in enumerate((first, second, lone))])
    await writer.insert(LABELS, [(first.owner, second.owner, 9), (second.owner, second.owner, 9)])
    await writer.insert(LABELS, [(first.owner, first.owner, 3)])
    await warehouse.command("SYSTEM RELOAD DICTIONARY label_dictionary")
    profile_ids = dict(await warehouse.query("SELECT id, profile_id FROM events"))
    assert profile_ids == {"m1": second.owner, "m2": second.owner, "m3": lone.owner}


async def test_a_node_that_shares_half_of_its_digits_keeps_its_own_profile(warehouse: Warehouse) -> None:
    writer = ClickHouseWriter(warehouse)
    stored_event = event({"user_id": "u1"}, id="m1")
    other = "5" + "0" * 15 + stored_event.owner[16:]
    await writer.insert(EVENT_STORE, [rows.event_row(record(0), stored_event)])
    await writer.insert(LABELS, [(other, "somebody else", 5)])
    await warehouse.command("SYSTEM RELOAD DICTIONARY label_dictionary")
    assert await warehouse.query("SELECT profile_id FROM events") == [(stored_event.owner,)]


async def test_the_largest_number_decides_a_membership(warehouse: Warehouse) -> None:
    writer = ClickHouseWriter(warehouse)
    transitions = [
        transition(profile_id="a", op="exited", seq=2, at_ms=2),
        transition(profile_id="a", op="entered", seq=1, at_ms=1),
        transition(profile_id="b", op="entered", seq=3, at_ms=3),
        transition(profile_id="b", op="exited", seq=2, at_ms=2),
        transition(profile_id="b", op="entered", seq=3, at_ms=3),
    ]
    for change in transitions:
        await writer.insert(TRANSITIONS, rows.transition_rows(record(0), change))
    assert await warehouse.query("SELECT profile_id, segment, seq FROM memberships") == [("b", "vip", 3)]


async def test_a_membership_names_its_segment_version_and_its_event(warehouse: Warehouse) -> None:
    writer = ClickHouseWriter(warehouse)
    for change in (transition(seq=1), transition(seq=3, segment_version="v2", event_id="e3"), transition(seq=2, op="exited")):
        await writer.insert(TRANSITIONS, rows.transition_rows(record(0), change))
    assert await warehouse.query("SELECT seq, segment_version, event_id FROM memberships") == [(3, "v2", "e3")]


async def test_computed_traits_are_columns_and_rows(warehouse: Warehouse) -> None:
    computed = {
        "lifecycle": "won_back", "rfm": {"recency": 5, "frequency": 1, "monetary": 3, "score": "513"},
        "favourite-city": "Huế", "total-spent": 1_500_000.5, "last-seen-days": 0,
    }  # fmt: skip
    profile = Profile(
        profile_id="p", members=("p",), label_version=1, identifiers=(), traits={"name": "Ánh"}, counters={}, first_seen_ms=1,
        last_seen_ms=2, segments=(), computed=computed, updated_ms=1,
    )  # fmt: skip
    bare = msgspec.structs.replace(profile, profile_id="q", members=("q",), computed={})
    gone = msgspec.structs.replace(profile, profile_id="r", members=(), merged_into="p")
    writer = ClickHouseWriter(warehouse)
    for record_value in (profile, bare, gone):
        await writer.insert(PROFILES, rows.profile_rows(record(0), record_value))
    shown = {name: (json.loads(computed_json), stage, score) for name, computed_json, stage, score in await warehouse.query(_SHOWN)}
    assert shown == {"p": (computed, "won_back", "513"), "q": ({}, "", "")}
    values = {(name, trait): json.loads(value) for name, trait, value in await warehouse.query(_VALUES)}
    assert values == {("p", trait): value for trait, value in computed.items()}


_SHOWN = "SELECT profile_id, computed, lifecycle, rfm FROM profiles"
_VALUES = "SELECT profile_id, trait, value FROM computed_traits"


async def test_a_dissolved_profile_is_stored_but_not_shown(warehouse: Warehouse) -> None:
    writer = ClickHouseWriter(warehouse)
    for at_ms, into in ((1, ""), (2, "other")):
        profile = Profile(
            profile_id="p",
            members=("p",) if not into else (),
            label_version=at_ms,
            merged_into=into,
            identifiers=(("user_id", "Ánh"),),
            traits={},
            counters={"$page": 1},
            first_seen_ms=1,
            last_seen_ms=2,
            segments=(),
            updated_ms=at_ms,
        )
        await writer.insert(PROFILES, rows.profile_rows(record(0), profile))
    assert await count(warehouse, "profile_store FINAL") == 1
    assert await count(warehouse, "profiles") == 0


async def test_a_record_quarantined_again_counts_once(warehouse: Warehouse) -> None:
    writer = ClickHouseWriter(warehouse)

    async def put(name: str, topic: str, offset: int, *, reason: str = "unparsable", counted: bool = True) -> None:
        quarantined = QuarantineRecord(
            id=name, stage="s", reason=reason, detail="", source="", topic=topic, partition=0, offset=offset, raw="", at_ms=1,
            counted=counted,
        )  # fmt: skip
        await writer.insert(QUARANTINE, rows.quarantine_rows(record(0), quarantined))

    for _ in range(2):
        await put("a", "onefold.events", 3)
        await put("b", "", -1)
    await put("beyond", "onefold.events", 50)
    await put("poison", "onefold.events", 4, reason="poison")
    await put("uncounted", "onefold.links", 1, counted=False)
    counts = await named_queries.fetch_rows(warehouse, "quarantined", topic="onefold.events", partitions=[0], positions=[10])
    assert counts == [(1, 0, 1)]
    for name in ("a", "b"):
        settled = QuarantineRecord(
            id=name, stage="s", reason="", detail="", source="", topic="", partition=0, offset=0, raw="", at_ms=5, counted=True,
            settled="replayed", by="Ánh",
        )  # fmt: skip
        assert rows.quarantine_rows(record(0), settled) == []
        await writer.insert(SETTLEMENTS, rows.settlement_rows(record(0), settled))
    counts = await named_queries.fetch_rows(warehouse, "quarantined", topic="onefold.events", partitions=[0], positions=[10])
    assert counts == [(1, 1, 0)]


async def test_positions_never_go_back(warehouse: Warehouse) -> None:
    writer = ClickHouseWriter(warehouse)
    assert await writer.positions("onefold.events") == {}
    for offset in (5, 9, 7):
        await writer.save_positions("onefold.events", {0: offset, 1: 1})
    assert await writer.positions("onefold.events") == {0: 9, 1: 1}


async def test_clickhouse_errors_are_translated_without_its_text(warehouse: Warehouse, clickhouse_settings: Settings) -> None:
    with pytest.raises(Permanent, match="62") as caught:
        await warehouse.query("SELEC 'nguyen@shop.vn'")
    assert "nguyen" not in str(caught.value)
    with pytest.raises(Misconfigured, match="onefold prepare"):
        await warehouse.query("SELECT * FROM no_such_table")
    address = clickhouse_settings.clickhouse_url.get_secret_value().rpartition("@")[2]
    for url, kind in (
        (f"http://onefold:wrong@{address}", Misconfigured),
        ("http://127.0.0.1:9", Transient),
        ("ftp://x", Misconfigured),
    ):
        failed: type[OnefoldError] = kind
        with pytest.raises(failed):
            await Warehouse.connect(clickhouse_settings.model_copy(update={"clickhouse_url": SecretStr(url)}))
