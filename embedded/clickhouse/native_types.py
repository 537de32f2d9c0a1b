"""Types in ClickHouse's binary encoding, read into columns with the names that a server gives them. Pure."""

from collections.abc import Callable

import re2

from embedded.clickhouse.native_columns import (
    Arrays,
    Dynamic,
    Fixed,
    Json,
    LowCardinality,
    NativeColumn,
    NativeCursor,
    Nullable,
    Texts,
    Tuples,
    Variant,
    unsupported,
)

# The code of each type without parameters: its name and how many bytes a value takes.
_PLAIN = {
    0x00: ("Nothing", 1), 0x01: ("UInt8", 1), 0x02: ("UInt16", 2), 0x03: ("UInt32", 4), 0x04: ("UInt64", 8), 0x05: ("UInt128", 16),
    0x06: ("UInt256", 32), 0x07: ("Int8", 1), 0x08: ("Int16", 2), 0x09: ("Int32", 4), 0x0A: ("Int64", 8), 0x0B: ("Int128", 16),
    0x0C: ("Int256", 32), 0x0D: ("Float32", 4), 0x0E: ("Float64", 8), 0x0F: ("Date", 2), 0x10: ("Date32", 4), 0x11: ("DateTime", 4),
    0x1D: ("UUID", 16), 0x28: ("IPv4", 4), 0x29: ("IPv6", 16), 0x2D: ("Bool", 1), 0x31: ("BFloat16", 2), 0x32: ("Time", 4),
}  # fmt: skip
_DECIMAL_BYTES = {0x19: 4, 0x1A: 8, 0x1B: 16, 0x1C: 32}
_INTERVALS = {
    0x00: "Nanosecond", 0x01: "Microsecond", 0x02: "Millisecond", 0x03: "Second", 0x04: "Minute", 0x05: "Hour", 0x06: "Day",
    0x07: "Week", 0x08: "Month", 0x09: "Quarter", 0x0A: "Year", 0x1A: "Year",
}  # fmt: skip
_DEFAULT_DYNAMIC_TYPES, _DEFAULT_JSON_PATHS = 32, 1024
_IDENTIFIER = re2.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_QUOTED_WORDS = frozenset({"null", "distinct", "all", "table", "select", "from", "order", "by"})
_ESCAPES = {"\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\0", "\\": "\\\\"}


def read_type(cursor: NativeCursor) -> NativeColumn:
    """Read one type.

    Raises:
        QueryRefused: for a type whose data nobody but the engine can measure, such as states of aggregate functions.
    """
    code = cursor.byte()
    if code in _PLAIN:
        return Fixed(*_PLAIN[code])
    if code in _DECIMAL_BYTES:
        return Fixed(f"Decimal({cursor.byte()}, {cursor.byte()})", _DECIMAL_BYTES[code])
    reader = _READERS.get(code)
    if reader is None:
        raise unsupported(f"A column of the type 0x{code:02x}")
    return reader(cursor)


def _date_time(cursor: NativeCursor) -> NativeColumn:
    return Fixed(f"DateTime({_quote(cursor.text())})", 4)


def _date_time_64(cursor: NativeCursor) -> NativeColumn:
    return Fixed(f"DateTime64({cursor.byte()})", 8)


def _date_time_64_in_zone(cursor: NativeCursor) -> NativeColumn:
    return Fixed(f"DateTime64({cursor.byte()}, {_quote(cursor.text())})", 8)


def _time_64(cursor: NativeCursor) -> NativeColumn:
    return Fixed(f"Time64({cursor.byte()})", 8)


def _string(_: NativeCursor) -> NativeColumn:
    return Texts()


def _fixed_string(cursor: NativeCursor) -> NativeColumn:
    size = cursor.varint()
    return Fixed(f"FixedString({size})", size)


def _enum(size: int) -> Callable[[NativeCursor], NativeColumn]:
    def read(cursor: NativeCursor) -> NativeColumn:
        values = []
        for _ in range(cursor.varint()):
            name = cursor.text()
            cursor.skip(size)
            number = int.from_bytes(cursor.data[cursor.position - size : cursor.position], "little", signed=True)
            values.append(f"{_quote(name)} = {number}")
        return Fixed(f"Enum{size * 8}({', '.join(values)})", size)

    return read


def _array(cursor: NativeCursor) -> NativeColumn:
    element = read_type(cursor)
    return Arrays(f"Array({element.name})", element)


def _tuple(cursor: NativeCursor) -> NativeColumn:
    elements = [read_type(cursor) for _ in range(cursor.varint())]
    return Tuples(f"Tuple({', '.join(element.name for element in elements)})", elements)


def _named(cursor: NativeCursor) -> tuple[str, list[NativeColumn]]:
    names, columns = [], []
    for _ in range(cursor.varint()):
        name, column = cursor.text(), read_type(cursor)
        names.append(f"{_quote_name(name)} {column.name}")
        columns.append(column)
    return ", ".join(names), columns


def _named_tuple(cursor: NativeCursor) -> NativeColumn:
    names, columns = _named(cursor)
    return Tuples(f"Tuple({names})", columns)


def _nested(cursor: NativeCursor) -> NativeColumn:
    names, columns = _named(cursor)
    return Arrays(f"Nested({names})", Tuples("", columns))


def _interval(cursor: NativeCursor) -> NativeColumn:
    code = cursor.byte()
    if code not in _INTERVALS:
        raise unsupported(f"An interval of the kind 0x{code:02x}")
    return Fixed(f"Interval{_INTERVALS[code]}", 8)


def _nullable(cursor: NativeCursor) -> NativeColumn:
    inner = read_type(cursor)
    return Nullable(f"Nullable({inner.name})", inner)


def _low_cardinality(cursor: NativeCursor) -> NativeColumn:
    inner = read_type(cursor)
    return LowCardinality(f"LowCardinality({inner.name})", inner.inner if isinstance(inner, Nullable) else inner)


def _map(cursor: NativeCursor) -> NativeColumn:
    key, value = read_type(cursor), read_type(cursor)
    return Arrays(f"Map({key.name}, {value.name})", Tuples("", [key, value]))


def _variant(cursor: NativeCursor) -> NativeColumn:
    alternatives = [read_type(cursor) for _ in range(cursor.varint())]
    return Variant(f"Variant({', '.join(alternative.name for alternative in alternatives)})", alternatives)


def _dynamic(cursor: NativeCursor) -> NativeColumn:
    limit = cursor.byte()
    return Dynamic("Dynamic" if limit == _DEFAULT_DYNAMIC_TYPES else f"Dynamic(max_types={limit})")


def _json(cursor: NativeCursor) -> NativeColumn:
    cursor.byte()
    path_limit, type_limit = cursor.varint(), cursor.byte()
    parameters = [] if type_limit == _DEFAULT_DYNAMIC_TYPES else [f"max_dynamic_types={type_limit}"]
    parameters += [] if path_limit == _DEFAULT_JSON_PATHS else [f"max_dynamic_paths={path_limit}"]
    typed = sorted((cursor.text(), read_type(cursor)) for _ in range(cursor.varint()))
    parameters += [f"{_quote_name(path)} {column.name}" for path, column in typed]
    parameters += [f"SKIP {_quote_name(cursor.text())}" for _ in range(cursor.varint())]
    parameters += [f"SKIP REGEXP {_quote(cursor.text())}" for _ in range(cursor.varint())]
    return Json(f"JSON({', '.join(parameters)})" if parameters else "JSON", [column for _, column in typed])


def _simple_aggregate(cursor: NativeCursor) -> NativeColumn:
    function = cursor.text()
    if cursor.varint():
        raise unsupported("SimpleAggregateFunction with parameters")
    arguments = [read_type(cursor) for _ in range(cursor.varint())]
    column = arguments[0]
    column.name = f"SimpleAggregateFunction({', '.join([function, *(argument.name for argument in arguments)])})"
    return column


def _aggregate(_: NativeCursor) -> NativeColumn:
    raise unsupported("The state of an aggregate function (finalizeAggregation gives its value)")


def _custom(cursor: NativeCursor) -> NativeColumn:
    name = cursor.text()
    depth = {"Point": 0, "Ring": 1, "LineString": 1, "Polygon": 2, "MultiLineString": 2, "MultiPolygon": 3}.get(name)
    if depth is None:
        raise unsupported(f"A column of the type {name[:64]}")
    column: NativeColumn = Fixed(name, 8)
    column = Tuples(name, [column, column])
    for _ in range(depth):
        column = Arrays(name, column)
    return column


def _qbit(cursor: NativeCursor) -> NativeColumn:
    element, dimensions = read_type(cursor), cursor.varint()
    bits = {"BFloat16": 16, "Float32": 32, "Float64": 64}[element.name]
    return Fixed(f"QBit({element.name}, {dimensions})", bits * ((dimensions + 7) // 8))


_READERS: dict[int, Callable[[NativeCursor], NativeColumn]] = {
    0x12: _date_time, 0x13: _date_time_64, 0x14: _date_time_64_in_zone, 0x15: _string, 0x16: _fixed_string, 0x17: _enum(1),
    0x18: _enum(2), 0x1E: _array, 0x1F: _tuple, 0x20: _named_tuple, 0x22: _interval, 0x23: _nullable, 0x25: _aggregate,
    0x26: _low_cardinality, 0x27: _map, 0x2A: _variant, 0x2B: _dynamic, 0x2C: _custom, 0x2E: _simple_aggregate, 0x2F: _nested,
    0x30: _json, 0x34: _time_64, 0x36: _qbit,
}  # fmt: skip


def _quote(text: str) -> str:
    return "'" + "".join(_ESCAPES.get(character, character) for character in text).replace("'", "\\'") + "'"


def _quote_name(name: str) -> str:
    if _IDENTIFIER.fullmatch(name) and name.lower() not in _QUOTED_WORDS:
        return name
    return "`" + "".join(_ESCAPES.get(character, character) for character in name).replace("`", "\\`") + "`"
