"""Blocks of the Native format, framed for the protocol version that a client asks for. Pure.

The engine writes the blocks of version 0. From version 1 on a block begins with its information (is it an overflow block, of which
bucket), and from 54454 on each column says whether it is serialised in a form of its own, which ours never are. Go's driver and
clickhouse-connect ask for such versions (`client_protocol_version`) and read wrongly what is framed otherwise.
"""

import struct

from embedded.clickhouse.native_columns import NativeCursor, length_prefixed, unsupported
from embedded.clickhouse.native_types import read_type
from embedded.clickhouse.protocol import QueryRefused

BINARY_TYPES_SETTING = "output_format_native_encode_types_in_binary_format"
_BLOCK_INFO = b"\x01\x00\x02\xff\xff\xff\xff"
_NO_OUT_OF_ORDER_BUCKETS = b"\x03\x00"
_END_OF_INFO = b"\x00"
_DEFAULT_SERIALISATION = b"\x00"
_TIME_ZONES_SINCE, _SERIALISATION_SINCE, _OUT_OF_ORDER_BUCKETS_SINCE = 54_337, 54_454, 54_480


def frame_blocks(data: bytes, version: int) -> bytes:
    """Return whole blocks, written with binary types, as a server sends them to a client of protocol `version` (above 0).

    Raises:
        QueryRefused: for a column whose end cannot be told, and for data that are no blocks.
    """
    cursor = NativeCursor(data)
    try:
        while not cursor.is_at_end:
            _frame_block(cursor, version)
    except (IndexError, KeyError, struct.error) as error:
        raise unsupported("This result") from error
    return cursor.output()


def _frame_block(cursor: NativeCursor, version: int) -> None:
    cursor.put(_BLOCK_INFO + (_NO_OUT_OF_ORDER_BUCKETS if version >= _OUT_OF_ORDER_BUCKETS_SINCE else b"") + _END_OF_INFO)
    column_count, row_count = cursor.varint(), cursor.varint()
    for _ in range(column_count):
        cursor.text()
        start = cursor.position
        column = read_type(cursor)
        cursor.drop_from(start)
        # clients of before had no word for the zone of a column
        has_no_zones = version < _TIME_ZONES_SINCE and column.name.startswith("DateTime(")
        cursor.put(length_prefixed("DateTime" if has_no_zones else column.name))
        if version >= _SERIALISATION_SINCE:
            cursor.put(_DEFAULT_SERIALISATION)
        if row_count:
            column.prefix(cursor)
            column.rows(cursor, row_count)


def parse_version(text: str) -> int:
    """Return the protocol version that a client asks for.

    Raises:
        QueryRefused: for what is no number.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise QueryRefused(36, "client_protocol_version: a whole number", "BAD_ARGUMENTS")
    return int(text)
