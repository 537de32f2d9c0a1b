"""Rows of records: the same however often and in whichever order they are inserted."""

import json
import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from profile_store.warehouse import rows
from profile_store.warehouse.tables import EVENT_STORE, LEDGER, PROFILES, TABLES
from profile_store.warehouse.writer import MemoryWriter
from runtime.bus.port import Record
from schemas.codec import decode, encode
from schemas.events import Event
from schemas.records import Profile
from tests.support.events import event

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
JSON = st.dictionaries(
    TEXT, TEXT | st.integers(-(2**53), 2**53) | st.booleans() | st.none() | st.lists(TEXT, max_size=2), max_size=3
)


def record(offset: int, value: bytes = b"") -> Record:
    return Record("onefold.events", 0, offset, 0, None, value)


@given(JSON, JSON)
def test_an_event_comes_back_from_its_row_as_it_was(properties: dict[str, Any], traits: dict[str, Any]) -> None:
    said = event({"user_id": "Nguyễn Thị Ánh"}, id="m1", name="Đặt hàng", properties=properties, traits=traits)
    row = rows.event(record(5), decode(Event, encode(said)))
    held = dict(zip([column.name for column in EVENT_STORE.columns], row, strict=True))
    assert json.loads(held["properties"]) == properties
    assert json.loads(held["traits"]) == traits
    assert held["identifiers"] == [("user_id", "Nguyễn Thị Ánh")]
    assert (held["time"], held["partition"], held["offset"]) == (said.time_ms, 0, 5)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=20), st.randoms(use_true_random=False))
async def test_any_order_and_repetition_of_inserts_gives_the_same_rows(pairs: list[tuple[int, int]], rng: random.Random) -> None:
    said = [(record(offset), event({"user_id": f"u{who}"}, id=f"m{what}")) for offset, (who, what) in enumerate(pairs)]
    once, often = MemoryWriter(), MemoryWriter()
    for place, held in said:
        await once.insert(EVENT_STORE, [rows.event(place, held)])
        await once.insert(LEDGER, [rows.stored(place, held)])
    shuffled = [*said, *rng.choices(said, k=5)]
    rng.shuffle(shuffled)
    await often.insert(EVENT_STORE, [rows.event(place, held) for place, held in shuffled])
    await often.insert(LEDGER, [rows.stored(place, held) for place, held in shuffled])
    assert often.rows(EVENT_STORE) == once.rows(EVENT_STORE)
    assert often.rows(LEDGER) == once.rows(LEDGER)
    assert len(once.rows(LEDGER)) - len(once.rows(EVENT_STORE)) == len(pairs) - len(set(pairs))


async def test_the_profile_said_later_stays() -> None:
    def said(at_ms: int, offset: int, segments: tuple[str, ...]) -> rows.Row:
        profile = Profile(
            profile_id="p", members=("p",), label_version=0, identifiers=(), traits={}, counters={}, first_seen_ms=0,
            last_seen_ms=0, segments=segments, updated_ms=at_ms,
        )  # fmt: skip
        return rows.profile(record(offset), profile)[0]

    writer = MemoryWriter()
    await writer.insert(PROFILES, [said(1_000, 7, ("b",)), said(1_000, 6, ("a",)), said(999, 900_000, ("c",))])
    (row,) = writer.rows(PROFILES)
    assert row[PROFILES.index("segments")] == ["b"]


def test_keys_and_versions_are_columns() -> None:
    for table in TABLES:
        assert {*table.key, *([table.version] if table.version else [])} <= {column.name for column in table.columns}


@given(st.integers())
def test_any_instant_fits_clickhouse(at_ms: int) -> None:
    assert 0 <= rows.instant(at_ms) < 2**63
