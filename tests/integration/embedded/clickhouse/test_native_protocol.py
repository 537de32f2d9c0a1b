"""Native for a protocol version: byte for byte what the engine writes for version 0, in the frame of the version."""

import contextlib
import struct

import clickhouse_connect
import httpx
import pytest

from embedded.clickhouse.native_columns import write_varint

pytestmark = pytest.mark.clickhouse

BLOCK_INFO = b"\x01\x00\x02\xff\xff\xff\xff\x00"
# One expression of each kind of type, over the numbers 0 to 299: long texts, NULL, empty lists, several types in one column.
EXPRESSIONS = [
    "number",
    "toInt8(number % 100)",
    "toUInt256(number)",
    "toFloat32(number)",
    "toBFloat16(number)",
    "number % 2 = 0",
    "toBool(number % 2)",
    "concat('Nguyễn Thị Lan ', repeat('x', number))",
    "toFixedString('ab', 3)",
    "toNullable(number)",
    "if(number % 3 = 0, NULL, 'Đặng')",
    "toDate(number)",
    "toDate32('1920-01-01')",
    "toDateTime(number, 'Asia/Ho_Chi_Minh')",
    "toDateTime64(number, 3, 'UTC')",
    "toDateTime64(number, 6)",
    "toTime('10:00:00')",
    "toTime64('10:00:00.1', 3)",
    "toUUID('61f0c404-5cb3-11e7-907b-a6006ad3dba0')",
    "toIPv4('1.2.3.4')",
    "toIPv6('::1')",
    "toDecimal32(1, 3)",
    "toDecimal64(1, 3)",
    "toDecimal128(1, 3)",
    "toDecimal256(1, 30)",
    "CAST('a', 'Enum8(\\'a\\' = 1, \\'b\\\\\\'c\\\\n\\' = -2)')",
    "CAST('a', 'Enum16(\\'a\\' = 1000, \\'Huế\\' = -2000)')",
    "range(number % 5)",
    "arrayMap(x -> toString(x), range(number % 7))",
    "[[number], []]",
    "[]",
    "map(toString(number), number)",
    "(number, 'x')",
    "CAST((number, 'x'), 'Tuple(a UInt64, `b c` String)')",
    "CAST((1, 2), 'Tuple(distinct UInt8, `đường` UInt8)')",
    "tuple()",
    "toLowCardinality(toString(number % 9))",
    "toLowCardinality(if(number % 2 = 0, NULL, 'x'))",
    "CAST(['a', NULL], 'Array(LowCardinality(Nullable(String)))')",
    "arrayMap(x -> toLowCardinality(x), arrayMap(x -> 'y', range(number % 3)))",
    "NULL",
    "INTERVAL 1 DAY",
    "INTERVAL 2 YEAR",
    "CAST((1.5, 2.5), 'Point')",
    "CAST([(1.5, 2.5)], 'Ring')",
    "CAST([[(1.5, 2.5)]], 'Polygon')",
    "CAST([[[(1.5, 2.5)]]], 'MultiPolygon')",
    "CAST([(1, 'x')], 'Nested(a Int8, b String)')",
    "CAST(number, 'SimpleAggregateFunction(max, UInt64)')",
    "CAST((1, 'a'), 'SimpleAggregateFunction(min, Tuple(Int64, String))')",
    "CAST([1, 2, 3], 'QBit(Float32, 3)')",
    "multiIf(number % 3 = 0, CAST(number, 'Variant(String, UInt64)'), number % 3 = 1, CAST('x', 'Variant(String, UInt64)'), NULL)",
    "CAST(number, 'Dynamic')",
    "multiIf(number % 2 = 0, CAST(number, 'Dynamic'), CAST(today(), 'Dynamic'))",
    'CAST(concat(\'{"a": \', toString(number), \', "b": {"c": "x"}, "d": [1, 2], "e": [{"f": 1}]}\'), \'JSON\')',
    'CAST(\'{"a": 1, "b": 2, "c": 3}\', \'JSON(max_dynamic_types = 3, max_dynamic_paths = 1, a UInt8, `x.y` String, SKIP q)\')',
]


def ask(url: str, sql: str, **parameters: str | int) -> bytes:
    answer = httpx.post(url, params=parameters, content=sql, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.content


def split_head(block: bytes) -> tuple[bytes, bytes, bytes]:
    """Split a block of one column into its start up to the column's name, the type's name, and what follows it."""
    rows_at = 2 if block[1] < 0x80 else 3
    name_end = rows_at + 1 + block[rows_at]
    size, at, shift = 0, name_end, 0
    while True:
        size |= (block[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if block[at - 1] < 0x80:
            return block[:name_end], block[at : at + size], block[at + size :]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_framed_blocks_are_the_bytes_of_the_engine_with_the_frame_around_them(url: str, expression: str) -> None:
    source = f"SELECT {expression} AS v FROM numbers(300)"  # noqa: S608 - the test's own expressions
    plain = ask(url, source + " FORMAT Native")
    assert plain
    head, type_name, data = split_head(plain)
    if type_name == b"DateTime":  # version 0 knows no zones
        type_name = ask(url, f"SELECT toTypeName(v) FROM ({source}) LIMIT 1 FORMAT RawBLOB")  # noqa: S608 - the same
    with_type = head + write_varint(len(type_name)) + type_name
    assert ask(url, source + " FORMAT Native", client_protocol_version=54_460) == BLOCK_INFO + with_type + b"\x00" + data
    assert ask(url, source + " FORMAT Native", client_protocol_version=54_405) == BLOCK_INFO + with_type + data


def test_a_row_of_many_columns_is_framed_column_by_column(url: str) -> None:
    columns = ", ".join(f"{expression} AS c{index}" for index, expression in enumerate(EXPRESSIONS))
    framed = ask(url, f"SELECT {columns} FROM numbers(3)", client_protocol_version=54_460, default_format="Native")  # noqa: S608 - the same
    assert framed.count(BLOCK_INFO) == 1
    assert framed.startswith(
        BLOCK_INFO + write_varint(len(EXPRESSIONS)) + b"\x03\x02c0\x06UInt64\x00" + struct.pack("<QQQ", 0, 1, 2)
    )
    # every column begins where the one before it ends: the engine's own names stand there
    at = 0
    for index in range(len(EXPRESSIONS)):
        name = f"c{index}".encode()
        at = framed.index(bytes([len(name)]) + name, at)


def test_every_block_of_a_long_answer_is_framed(url: str) -> None:
    framed = ask(
        url,
        "SELECT toString(number) FROM numbers(400000)",
        client_protocol_version=54_460,
        default_format="Native",
        max_block_size=1000,
    )
    plain = ask(url, "SELECT toString(number) FROM numbers(400000) FORMAT Native", max_block_size=1000)
    assert framed.count(BLOCK_INFO) == 400
    assert len(framed) == len(plain) + 400 * (len(BLOCK_INFO) + 1)


@pytest.mark.parametrize(
    ("version", "frame"),
    [
        (1, BLOCK_INFO + b"\x01\x01\x01d\x08DateTime"),
        (54_337, BLOCK_INFO + b"\x01\x01\x01d\x0fDateTime('UTC')"),
        (54_480, BLOCK_INFO[:-1] + b"\x03\x00\x00\x01\x01\x01d\x0fDateTime('UTC')\x00"),
    ],
)
def test_each_version_gets_its_frame(url: str, version: int, frame: bytes) -> None:
    assert ask(url, "SELECT toDateTime(0, 'UTC') AS d FORMAT Native", client_protocol_version=version) == frame + b"\0\0\0\0"


def test_other_formats_and_version_0_are_left_alone(url: str) -> None:
    assert ask(url, "SELECT 1 FORMAT TSV", client_protocol_version=54_460) == b"1\n"
    assert ask(url, "SELECT 1 AS x FORMAT Native", client_protocol_version=0) == b"\x01\x01\x01x\x05UInt8\x01"
    assert ask(url, "SELECT 1 WHERE 0 FORMAT Native", client_protocol_version=54_460) == b""


@pytest.mark.parametrize(
    ("sql", "parameters", "code"),
    [
        ("SELECT sumState(number) FROM numbers(3)", {}, "48"),
        ("SELECT 1 SETTINGS output_format_native_encode_types_in_binary_format = 0", {}, "48"),
        ("SELECT CAST('{}', 'JSON') SETTINGS output_format_native_use_flattened_dynamic_and_json_serialization = 1", {}, "48"),
        ("SELECT 1", {"client_protocol_version": "new"}, "36"),
    ],
)
def test_what_cannot_be_framed_is_refused_in_words(url: str, sql: str, parameters: dict[str, str], code: str) -> None:
    answer = httpx.post(url, params={"default_format": "Native", "client_protocol_version": "54460"} | parameters, content=sql)
    assert answer.headers["x-clickhouse-exception-code"] == code
    assert "client_protocol_version" in answer.text


def test_clickhouse_connect_reads_the_zone_of_a_column_now(url: str) -> None:
    with contextlib.closing(clickhouse_connect.get_client(dsn=url)) as client:
        assert client.protocol_version == 54_405  # what it chose after its probe
        value = client.query("SELECT toDateTime('2026-11-29 07:00:00', 'Asia/Ho_Chi_Minh')").result_rows[0][0]
    assert str(value) == "2026-11-29 07:00:00+07:00"
