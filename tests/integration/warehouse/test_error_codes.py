"""Errors of the real engine, as an insert meets them: wait, send less, correct something, or give up a row."""

import os
from pathlib import Path
from typing import Any, Final

import pytest
from pydantic import SecretStr

from runtime.errors import Misconfigured, Transient
from runtime.settings import Settings
from tests.support.clickhouse_server import clickhouse_server
from tests.support.polling import eventually_async
from tests.support.small_disk import small_disk
from warehouse.client import Warehouse
from warehouse.error_codes import BatchTooLarge, RowsRefused
from warehouse.migrate import migrate
from warehouse.refusals import insert_accepted
from warehouse.tables import Column, Table
from warehouse.writer import ClickHouseWriter

pytestmark = pytest.mark.clickhouse
TABLE: Final = Table("codes", (Column("a", "UInt32"), Column("s", "String")), key=("a",))
ROWS: Final = [(n, f"khách {n}") for n in range(40)]


async def create(warehouse: Warehouse, columns: str, settings: str = "") -> None:
    await warehouse.command("DROP TABLE IF EXISTS codes SYNC")
    await warehouse.command(f"CREATE TABLE codes (a UInt32, s String{columns}) ENGINE = MergeTree ORDER BY a {settings}")


async def error_of(warehouse: Warehouse, rows: list[Any]) -> type[BaseException]:
    """Return the kind of error that inserting these rows raises."""
    with pytest.raises((Transient, Misconfigured, RowsRefused)) as raised:
        await warehouse.insert(TABLE, rows)
    return raised.type


@pytest.mark.parametrize(
    "refusing",
    [
        ", CONSTRAINT small CHECK a != 13",
        ", b UInt8 MATERIALIZED throwIf(a = 13)",
        ", b UInt8 MATERIALIZED toUInt8(if(a = 13, 'mười ba', '1'))",
        ", b UInt8 DEFAULT intDiv(1, toInt32(a) - 13)",
        ", b DateTime MATERIALIZED toDateTime(if(a = 13, 'hôm qua', '2026-01-01 00:00:00'))",
        ", b UUID MATERIALIZED toUUID(if(a = 13, 'x', '61f0c404-5cb3-11e7-907b-a6006ad3dba0'))",
        ", b IPv4 MATERIALIZED toIPv4(if(a = 13, 'x', '127.0.0.1'))",
        ", b Enum8('một' = 1) MATERIALIZED CAST(if(a = 13, 'hai', 'một'), 'Enum8(\\'một\\' = 1)')",
        ", b Decimal32(2) MATERIALIZED toDecimal32(if(a = 13, 1e9, 1.), 2)",
        ", b UInt8 MATERIALIZED assumeNotNull(accurateCast(if(a = 13, 300, 1), 'UInt8'))",
        ", b String MATERIALIZED toFixedString(if(a = 13, 'quá dài', 'x'), 2)",
    ],
)
async def test_a_row_that_the_table_never_takes_is_found_and_the_rest_is_stored(warehouse: Warehouse, refusing: str) -> None:
    await create(warehouse, refusing)
    refused = await insert_accepted(ClickHouseWriter(warehouse), TABLE, ROWS)
    assert [row.index for row in refused] == [13]
    assert "ClickHouse answered with error" in refused[0].detail
    assert await warehouse.query("SELECT count(), countIf(a = 13) FROM codes") == [(39, 0)]


async def test_a_value_that_the_driver_cannot_write_is_refused_too(warehouse: Warehouse) -> None:
    await create(warehouse, "")
    rows: list[Any] = [*ROWS[:5], (2**40, "too large"), ("text", "no number"), (7, 8)]
    refused = await insert_accepted(ClickHouseWriter(warehouse), TABLE, rows)
    assert {row.index for row in refused} >= {5, 6}
    assert not any("khách" in row.detail or "text" in row.detail for row in refused)


async def test_what_may_pass_gives_up_no_row(warehouse: Warehouse) -> None:
    await create(warehouse, "", "SETTINGS parts_to_throw_insert = 1, parts_to_delay_insert = 1")
    await warehouse.command("SYSTEM STOP MERGES codes")

    async def insert_twice() -> None:
        for _ in range(2):
            await insert_accepted(ClickHouseWriter(warehouse), TABLE, ROWS)

    with pytest.raises(Transient, match="error 252"):
        await insert_twice()


async def test_too_much_memory_asks_for_fewer_rows(warehouse: Warehouse) -> None:
    await create(warehouse, ", b UInt8 MATERIALIZED length(repeat('x', a * 400000000)) > 0")
    assert await error_of(warehouse, ROWS) in {BatchTooLarge, RowsRefused}
    assert await warehouse.query("SELECT count() FROM codes") == [(0,)]


async def test_a_missing_table_is_for_the_operator(warehouse: Warehouse) -> None:
    await warehouse.command("DROP TABLE IF EXISTS codes SYNC")
    assert await error_of(warehouse, ROWS) is Misconfigured


async def test_an_error_that_no_list_has_is_retried(warehouse: Warehouse) -> None:
    await create(warehouse, "")
    await warehouse.command("ALTER TABLE codes DROP COLUMN s")
    with pytest.raises(Transient, match="not a known error of an insert"):
        await warehouse.insert(TABLE, ROWS)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
async def test_a_full_disk_is_retried_and_takes_everything_once_it_has_space(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", megabytes=96) as disk, clickhouse_server(disk.path) as url:
        settings = Settings(clickhouse_url=SecretStr(url), clickhouse_database="full")
        await migrate(settings)
        warehouse = await Warehouse.connect(settings)
        await create(warehouse, "")
        large: list[Any] = [(n, os.urandom(16_000).hex()) for n in range(100)]
        disk.fill()

        async def fails() -> bool:
            try:
                await insert_accepted(ClickHouseWriter(warehouse), TABLE, large)
            except Transient:
                return True
            return False

        await eventually_async(fails, within_s=30)
        disk.free()

        async def succeeds() -> bool:
            return not await fails()

        await eventually_async(succeeds, within_s=30)
        assert await warehouse.query("SELECT uniqExact(a) FROM codes") == [(100,)]
        await warehouse.aclose()
