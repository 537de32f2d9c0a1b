"""Values in SQL are those of Python: every letter folded, numbers of every size, dates in every spelling."""

import json
import random
import struct
import unicodedata
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.segments.comparisons import fold_text, normalise_nfc
from domain.segments.dates import parse_instant
from domain.segments.registers import canonical_text, parse_amount
from domain.segments.sql.functions import function_declarations
from domain.zone_offsets import zone_offsets
from tests.support.random_values import BASES, NUMBERS, random_date
from warehouse.client import Warehouse

pytestmark = pytest.mark.clickhouse
AT_ONCE = 2_000


async def differences(warehouse: Warehouse, expression: str, values: Sequence[Any], python: Callable[[Any], str]) -> list[Any]:
    """Return the values for which the SQL expression over `v`, their JSON text, differs from Python: (value, Python's, SQL's)."""
    sql = f"SELECT arrayMap(v -> {expression}, JSONExtractArrayRaw({{values:String}}))"
    found = []
    for start in range(0, len(values), AT_ONCE):
        part = values[start : start + AT_ONCE]
        [(said,)] = await warehouse.query(
            f"WITH\n{function_declarations(sql)}\n{sql}", {"values": json.dumps(part, ensure_ascii=False)}
        )
        found += [(one, python(one), sql) for one, sql in zip(part, said, strict=True) if python(one) != sql]
    return found


def letters() -> list[str]:
    """Return every letter, mark and sign that Unicode has assigned; each mark also follows a letter."""
    signs = [chr(code) for code in (*range(1, 0xD800), *range(0xE000, 0x32000)) if unicodedata.category(chr(code)) not in _NONE]
    return [*signs, *(f"a{sign}" for sign in signs if unicodedata.category(sign)[0] == "M"), "ΟΔΟΣ ΑΣ", "İstanbul", "Straße", "ﬁ"]


_NONE = ("Cn", "Cs", "Co")


def numbers() -> list[Any]:
    """Return whole numbers of up to 64 bits, fractions, and floats of every exponent."""
    rng = random.Random(5)
    found: list[Any] = [*NUMBERS, 0.0, -0.0, 0.0000005, -0.0000005, 5e-324, 1.7976931348623157e308, 0.0001, 0.00001, 1e22, 1e23]
    for _ in range(2_000):
        found += [rng.randrange(-(2**63), 2**64), rng.uniform(-1, 1) * 10 ** rng.randint(-12, 22), rng.randrange(10**9) / 10**6]
        number: float = struct.unpack("d", struct.pack("Q", rng.getrandbits(63)))[0]
        found += [number] if number < float("inf") else []
    return found


async def test_letters_are_folded_and_composed_alike(warehouse: Warehouse) -> None:
    assert await differences(warehouse, "folded(v)", letters(), fold_text) == []
    assert await differences(warehouse, "text_of(v)", letters(), normalise_nfc) == []


async def test_numbers_are_told_apart_and_counted_alike(warehouse: Warehouse) -> None:
    values = [*numbers(), "5", True, False, None, [1], {"a": 1}, ""]
    assert await differences(warehouse, "canonical(v)", values, lambda value: canonical_text(value) or "") == []

    def amount(value: Any) -> str:
        found = parse_amount(value)
        return "" if found is None else str(found)

    assert await differences(warehouse, "if(is_amount(v), toString(amount_of(v)), '')", values, amount) == []


async def test_dates_are_read_alike(warehouse: Warehouse) -> None:
    rng = random.Random(7)
    dates = [random_date(rng, rng.choice(BASES)) for _ in range(500)]
    dates += ["1969-12-31", "1900-01-01", "2299-12-31T23:59:59.999Z", "1970-01-01T00:00:00+23:59", "2024-02-29", "1900-02-29"]
    dates += ["2025-06-15T10:00:00.123456789Z", "2025-06-15T10:00:00.Z", "2025-06-15T10:00:60Z", "2025-06-15\n", "2025-06-15Z"]
    dates += [
        "2025/06/15",
        "2025-06/15",
        "2025/06/15 10:00 UTC",
        "2025-06-15 10:00:00.5 +0700",
        "2025-06-15T10:00 GMT",
        "2025-06-15 10:00",
    ]

    def instant(value: Any) -> str:
        found = parse_instant(value)
        return "" if found is None else str(found)

    assert await differences(warehouse, "ifNull(toString(instant_of(v)), '')", dates, instant) == []


@pytest.mark.parametrize("zone", ["Asia/Ho_Chi_Minh", "America/New_York"])
async def test_dates_are_read_alike_in_a_zone(warehouse: Warehouse, zone: str) -> None:
    rng, offsets = random.Random(8), zone_offsets(zone)
    dates: list[Any] = [random_date(rng, rng.choice(BASES)) for _ in range(100)]
    dates += [
        "1900-01-01",
        "2299-12-31 23:59:59.999",
        "1975-06-12",
        "2025/06/15",
        "2025/06/15 10:00 UTC",
        "2025-06-15 10:00:00.5 +0700",
    ]
    dates += ["2025-03-09 02:30", "2025-11-02 01:30:00", "2025-06/15", "2025-06-15T10:00GMT", "20250615", 1_750_000_000, None, ""]
    for start_ms in offsets.starts_ms[1::7]:
        local = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=start_ms)
        dates += [f"{local - timedelta(seconds=1):%Y-%m-%d %H:%M:%S}", f"{local:%Y-%m-%d %H:%M:%S}"]

    def instant(value: Any) -> str:
        found = parse_instant(value, zone)
        return "" if found is None else str(found)

    expression = f"ifNull(toString(instant_in(v, {list(offsets.starts_ms)}, {list(offsets.offsets_ms)})), '')"
    assert await differences(warehouse, expression, dates, instant) == []
