"""Rows that the store refuses for ever are found among those that it takes, and nothing else is given up."""

from collections.abc import Sequence

import pytest

from runtime.errors import Transient
from warehouse.error_codes import BatchTooLarge, RowsRefused
from warehouse.refusals import MAX_REFUSED_ALONE, insert_accepted
from warehouse.rows import TableRow
from warehouse.tables import POSITIONS, Table
from warehouse.writer import MemoryWriter


class RefusingWriter(MemoryWriter):
    """Refuses the rows of these partitions, batches above `most` rows, and the calls of these numbers with a passing fault."""

    def __init__(self, refused: Sequence[int] = (), *, most: int = 10_000, faults: Sequence[int] = ()) -> None:
        super().__init__()
        self.refused, self.most, self.faults, self.calls = set(refused), most, set(faults), 0

    async def insert(self, table: Table, rows: Sequence[TableRow]) -> None:
        self.calls += 1
        if self.calls in self.faults:
            raise Transient("away")
        if len(rows) > self.most:
            raise BatchTooLarge("too many bytes")
        if self.refused & {row[1] for row in rows}:
            raise RowsRefused("a constraint")
        await super().insert(table, rows)


def rows(count: int) -> list[TableRow]:
    return [("t", number, 1) for number in range(count)]


def stored(writer: MemoryWriter) -> set[int]:
    return {row[1] for row in writer.rows(POSITIONS)}


@pytest.mark.parametrize("refused", [(), (0,), (99,), (3, 4, 77), tuple(range(0, 100, 2))])
async def test_exactly_the_refused_rows_are_returned_and_all_others_stored(refused: tuple[int, ...]) -> None:
    writer = RefusingWriter(refused)
    result = await insert_accepted(writer, POSITIONS, rows(100))
    assert [row.index for row in result] == list(refused)
    assert {row.detail for row in result} <= {"a constraint"}
    assert stored(writer) == set(range(100)) - set(refused)


async def test_one_refused_row_among_many_costs_few_inserts() -> None:
    writer = RefusingWriter((12_345,))
    await insert_accepted(writer, POSITIONS, rows(20_000))
    assert writer.calls <= 2 * 15 + 1


async def test_a_passing_fault_in_the_middle_gives_up_no_row() -> None:
    writer = RefusingWriter((3,), faults=(4,))
    with pytest.raises(Transient, match="away"):
        await insert_accepted(writer, POSITIONS, rows(8))
    assert [row.index for row in await insert_accepted(writer, POSITIONS, rows(8))] == [3]


async def test_a_batch_that_is_too_large_goes_in_parts_and_a_row_that_is_too_large_waits() -> None:
    writer = RefusingWriter(most=7)
    assert await insert_accepted(writer, POSITIONS, rows(100)) == []
    assert len(stored(writer)) == 100
    with pytest.raises(BatchTooLarge):
        await insert_accepted(RefusingWriter(most=0), POSITIONS, rows(4))


async def test_a_table_that_takes_no_row_at_all_is_at_fault_itself() -> None:
    count = MAX_REFUSED_ALONE * 4
    with pytest.raises(Transient, match="correct the table"):
        await insert_accepted(RefusingWriter(range(count)), POSITIONS, rows(count))
    few = await insert_accepted(RefusingWriter(range(3)), POSITIONS, rows(3))
    assert len(few) == 3
