"""Rows of records: the table is the same however often and in whichever order they are inserted."""

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.identity.evidence import add_edge, edge_of_link
from domain.identity.model import Edges
from runtime.bus.port import Record
from schemas.codec import decode, encode
from schemas.events import Event
from schemas.instants import DAY_MS
from schemas.records import DecisionKind, Identity, Link, LinkDecision, Profile, ReclusterRequest
from tests.support.events import event
from warehouse import rows
from warehouse.tables import DECISIONS, EVENT_STORE, EVIDENCE, LEDGER, PROFILES, TABLES
from warehouse.writer import MemoryWriter

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
JSON = st.dictionaries(
    TEXT, TEXT | st.integers(-(2**53), 2**53) | st.booleans() | st.none() | st.lists(TEXT, max_size=2), max_size=3
)


def record(offset: int, value: bytes = b"") -> Record:
    return Record("onefold.events", 0, offset, 0, None, value)


@given(JSON, JSON)
def test_an_event_row_has_the_values_of_its_event(properties: dict[str, Any], traits: dict[str, Any]) -> None:
    original = event({"user_id": "Nguyễn Thị Ánh"}, id="m1", name="Đặt hàng", properties=properties, traits=traits)
    row = rows.event_row(record(5), decode(Event, encode(original)))
    stored = dict(zip([column.name for column in EVENT_STORE.columns], row, strict=True))
    assert json.loads(stored["properties"]) == properties
    assert json.loads(stored["traits"]) == traits
    assert stored["identifiers"] == [("user_id", "Nguyễn Thị Ánh")]
    assert stored["time"] == original.time_ms
    assert stored["partition"] == 0
    assert stored["offset"] == 5


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=20), st.randoms(use_true_random=False))
async def test_any_order_and_repetition_of_inserts_gives_the_same_rows(pairs: list[tuple[int, int]], rng: random.Random) -> None:
    arrivals = [(record(offset), event({"user_id": f"u{who}"}, id=f"m{what}")) for offset, (who, what) in enumerate(pairs)]
    once, often = MemoryWriter(), MemoryWriter()
    for source_record, arrived in arrivals:
        await once.insert(EVENT_STORE, [rows.event_row(source_record, arrived)])
        await once.insert(LEDGER, [rows.stored_ledger_row(source_record, arrived)])
    shuffled = [*arrivals, *rng.choices(arrivals, k=5)]
    rng.shuffle(shuffled)
    await often.insert(EVENT_STORE, [rows.event_row(source_record, arrived) for source_record, arrived in shuffled])
    await often.insert(LEDGER, [rows.stored_ledger_row(source_record, arrived) for source_record, arrived in shuffled])
    assert often.rows(EVENT_STORE) == once.rows(EVENT_STORE)
    assert often.rows(LEDGER) == once.rows(LEDGER)
    assert len(once.rows(LEDGER)) - len(once.rows(EVENT_STORE)) == len(pairs) - len(set(pairs))


async def test_later_profile_row_wins() -> None:
    def profile_row(at_ms: int, offset: int, segments: tuple[str, ...]) -> rows.TableRow:
        profile = Profile(
            profile_id="p", members=("p",), label_version=0, identifiers=(), traits={}, counters={}, first_seen_ms=0,
            last_seen_ms=0, segments=segments, updated_ms=at_ms,
        )  # fmt: skip
        return rows.profile_rows(record(offset), profile)[0]

    writer = MemoryWriter()
    await writer.insert(PROFILES, [profile_row(1_000, 7, ("b",)), profile_row(1_000, 6, ("a",)), profile_row(999, 900_000, ("c",))])
    (row,) = writer.rows(PROFILES)
    assert row[PROFILES.column_index("segments")] == ["b"]


def test_keys_and_versions_are_columns() -> None:
    for table in TABLES:
        assert not table.min_columns or {*table.key, *table.min_columns} == {column.name for column in table.columns}
        assert {*table.key, *([table.version] if table.version else [])} <= {column.name for column in table.columns}


@given(st.integers())
def test_any_instant_fits_clickhouse(at_ms: int) -> None:
    assert 0 <= rows.datetime64(at_ms) < 2**63


INSTANT = st.integers(-1, 1).map(lambda day: day * DAY_MS) | st.sampled_from([-1, 1, DAY_MS - 1, 2**70, -(2**70)])
NAME = st.sampled_from(["", "a", "ạ", "m1", "\uffff", "\U0001f600"])
LINK = st.builds(
    Link,
    a=st.just("0a"),
    b=st.sampled_from(["2b", "3c"]),
    first_ms=INSTANT,
    first_event=NAME,
    last_ms=INSTANT,
    last_event=NAME,
    source=NAME,
    owner=NAME,
    rule=st.sampled_from(["together", "alias"]),
    rules=NAME,
)


@given(st.lists(LINK.filter(lambda link: abs(link.first_ms) < 2**63 and abs(link.last_ms) < 2**63), min_size=1, max_size=8))
async def test_minimum_columns_equal_the_join_of_the_evidence(links: list[Link]) -> None:
    writer = MemoryWriter()
    edges: Edges = {}
    for link in links:
        await writer.insert(EVIDENCE, rows.evidence_rows(record(0), link))
        add_edge(edges, (link.a, link.b), edge_of_link(link))
    assert writer.rows(EVIDENCE) == [rows.evidence_row(a, b, edge) for (a, b), edge in sorted(edges.items())]


@given(LINK)
def test_any_evidence_fits_clickhouse(link: Link) -> None:
    ((_, _, first, last),) = rows.evidence_rows(record(0), link)
    assert all(-(2**63) < number < 2**63 for number in (first[0], last[0], last[1]))


async def test_decision_has_a_row_per_pair_and_recluster_request_has_none() -> None:
    pairs: tuple[tuple[DecisionKind, str, str], ...] = (("cut", "0a", "2b"), ("apart", "0a", "3c"))
    decision = LinkDecision(operation="o1", action="split", pairs=pairs, on=True, at_ms=2**80, by="Ánh", reason="hai")
    writer = MemoryWriter()
    for link_record in (decision, decision, ReclusterRequest(nodes=("0a",), rules_number=1)):
        await writer.insert(DECISIONS, rows.decision_rows(record(0), link_record))
        await writer.insert(EVIDENCE, rows.evidence_rows(record(0), link_record))
    assert [row[2:7] for row in writer.rows(DECISIONS)] == [
        ("apart", "0a", "3c", True, 2**63 - 1),
        ("cut", "0a", "2b", True, 2**63 - 1),
    ]
    assert writer.rows(EVIDENCE) == []


def test_a_dissolved_profile_has_a_change_and_no_labels() -> None:
    dissolved = Identity(profile_id="2b", members=(), label_version=-1, merged_into="0a", at_ms=-5)
    assert rows.label_rows(record(0), dissolved) == []
    assert rows.identity_rows(record(0), dissolved) == [("2b", 0, [], "0a", "", "", 0)]


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        (b"Segment/a", "{“Ánh”}".encode(), ("Segment/a", "{“Ánh”}", False)),
        (b"Segment/a", None, ("Segment/a", "", True)),
        (b"Segment/a", b"\xff", ("Segment/a", "", True)),
        (b"\xff", b"{}", None),
        (b"k" * 60_000, b"{}", None),
        (None, b"{}", None),
    ],
)
def test_the_newest_record_of_each_definition_has_a_row_whatever_it_is(
    key: bytes | None, value: bytes | None, expected: tuple[str, str, bool] | None
) -> None:
    made = rows.definition_rows(Record("onefold.definitions", 0, 7, 1_750_000_000_000, key, value))
    assert made == ([] if expected is None else [(*expected, 7, 1_750_000_000_000)])
