"""Rows of group records: the table is the same however often and in whichever order they are inserted."""

import random

from hypothesis import given
from hypothesis import strategies as st

from runtime.bus.port import Record
from schemas.codec import decode, encode
from schemas.records import GroupRecord, TraitValue
from warehouse import rows
from warehouse.group_records import record_of_contribution_row
from warehouse.tables import ACCOUNT_TRAITS, CONTRIBUTIONS
from warehouse.writer import MemoryWriter

RECORD = Record("onefold.groups", 0, 0, 0, None, None)
ACCOUNT = GroupRecord(
    group_id="a1",
    kind="account",
    name="Công ty Ánh",
    traits={"số ghế": TraitValue(12, 5, "m1"), "plan": TraitValue(None, 6, "m2", trusted=False)},
)
HOME = GroupRecord(
    group_id="h1", kind="household", profile_id="0a", seq=7, rank=1, max_members=20, traits={"city": TraitValue("Huế", 5, "m1")},
    counters={"Đặt hàng": 2}, at_ms=1_750_000_000_000,
)  # fmt: skip


def test_a_contribution_is_read_back_from_its_row_unchanged() -> None:
    assert decode(GroupRecord, encode(HOME)) == HOME
    assert [record_of_contribution_row(row) for row in rows.contribution_rows(RECORD, HOME)] == [HOME]
    assert rows.account_trait_rows(RECORD, HOME) == []


def test_each_trait_of_an_account_is_a_row() -> None:
    group_record = decode(GroupRecord, encode(ACCOUNT))
    assert rows.account_trait_rows(RECORD, group_record) == [
        ("a1", "Công ty Ánh", "số ghế", (1, 5, "m1", "12")),
        ("a1", "Công ty Ánh", "plan", (0, 6, "m2", "null")),
    ]
    assert rows.contribution_rows(RECORD, group_record) == []


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=9), st.randoms(use_true_random=False))
async def test_the_contribution_with_the_largest_sequence_number_wins(
    contributions: list[tuple[int, bool]], rng: random.Random
) -> None:
    records = [
        GroupRecord(group_id="h1", kind="household", profile_id=f"{who}", present=present, seq=seq)
        for seq, (who, present) in enumerate(contributions)
    ]
    shuffled = [*records, *rng.choices(records, k=4)]
    rng.shuffle(shuffled)
    writer = MemoryWriter()
    for record in shuffled:
        await writer.insert(CONTRIBUTIONS, rows.contribution_rows(RECORD, record))
        await writer.insert(ACCOUNT_TRAITS, rows.account_trait_rows(RECORD, record))
    newest = {record.profile_id: record for record in records}
    assert [record_of_contribution_row(row) for row in writer.rows(CONTRIBUTIONS)] == [newest[who] for who in sorted(newest)]
