"""The columns of ClickHouse's Native format: how long the data of each type is, and what the type is called. Pure.

A block says nothing of the size of its columns, so whoever puts something between two columns must know where each ends. The engine
is asked for types in their binary encoding (`output_format_native_encode_types_in_binary_format`), which loses nothing; the
reader gets names, as a server sends them.
"""

import struct
from dataclasses import dataclass, field
from typing import Protocol

from embedded.clickhouse.protocol import QueryRefused

_DYNAMIC_V1, _JSON_V1 = 1, 0
_NO_VARIANT = 255
_U64 = struct.Struct("<Q")
_HAS_KEYS, _HAS_GLOBAL_DICTIONARY = 0x200, 0x100


class NativeCursor:
    """Walks over `data` and collects it in `output`, with what is put in or left out on the way.

    Raises:
        IndexError, struct.error: at data that end too early.
    """

    def __init__(self, data: bytes) -> None:
        self.data, self.position = data, 0
        self._copied_to = 0
        self._output: list[bytes] = []

    @property
    def is_at_end(self) -> bool:
        """Whether all data were walked over."""
        return self.position >= len(self.data)

    def skip(self, count: int) -> None:
        """Walk over `count` bytes, which are copied."""
        self.position += count
        if self.position > len(self.data):
            raise IndexError("the data end too early")

    def put(self, inserted: bytes) -> None:
        """Insert bytes here."""
        self._output += (self.data[self._copied_to : self.position], inserted)
        self._copied_to = self.position

    def drop_from(self, start: int) -> None:
        """Leave out what was walked over since `start`; nothing was put in since."""
        self._output.append(self.data[self._copied_to : start])
        self._copied_to = self.position

    def output(self) -> bytes:
        """Return everything up to here."""
        self.put(b"")
        return b"".join(self._output)

    def byte(self) -> int:
        """Read one byte."""
        self.position += 1
        return self.data[self.position - 1]

    def varint(self) -> int:
        """Read an unsigned number in groups of seven bits."""
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def u64(self) -> int:
        """Read a number of eight bytes."""
        value: int = _U64.unpack_from(self.data, self.position)[0]
        self.position += 8
        return value

    def text(self) -> str:
        """Read a text with its length."""
        size = self.varint()
        self.skip(size)
        return self.data[self.position - size : self.position].decode("utf-8", "surrogateescape")

    def skip_texts(self, count: int) -> None:
        """Walk over `count` texts. This is the one loop over rows, so it has no call in it for short texts."""
        data, position = self.data, self.position
        for _ in range(count):
            size = data[position]
            if size < 0x80:
                position += size + 1
                continue
            self.position = position
            size = self.varint()
            position = self.position + size
        self.position = position
        self.skip(0)


class NativeColumn(Protocol):
    """The data of one type: its name, and how to walk over its prefix and its rows."""

    name: str

    def prefix(self, cursor: NativeCursor) -> None:
        """Walk over what comes once before the rows."""
        ...

    def rows(self, cursor: NativeCursor, count: int) -> None:
        """Walk over `count` rows."""
        ...


@dataclass
class Fixed:
    """Values of `size` bytes."""

    name: str
    size: int

    def prefix(self, cursor: NativeCursor) -> None:
        """Do nothing: there is no prefix."""

    def rows(self, cursor: NativeCursor, count: int) -> None:
        """Walk over `count` values."""
        cursor.skip(self.size * count)


@dataclass
class Texts:
    """Values with their length before them."""

    name: str = "String"

    def prefix(self, cursor: NativeCursor) -> None:
        """Do nothing: there is no prefix."""

    def rows(self, cursor: NativeCursor, count: int) -> None:
        """Walk over `count` values."""
        cursor.skip_texts(count)


@dataclass
class Nullable:
    """One byte a row that says whether it is NULL, then the values."""

    name: str
    inner: NativeColumn

    def prefix(self, cursor: NativeCursor) -> None:
        """Walk over the prefix of the values."""
        self.inner.prefix(cursor)

    def rows(self, cursor: NativeCursor, count: int) -> None:
        """Walk over the flags and the values."""
        cursor.skip(count)
        self.inner.rows(cursor, count)


@dataclass
class Arrays:
    """The ends of the arrays, then the elements of all. A Map is an array of pairs."""

    name: str
    element: NativeColumn

    def prefix(self, cursor: NativeCursor) -> None:
        """Walk over the prefix of the elements."""
        self.element.prefix(cursor)

    def rows(self, cursor: NativeCursor, count: int) -> None:
        """Walk over the ends and the elements."""
        if count:
            cursor.skip(8 * (count - 1))
            self.element.rows(cursor, cursor.u64())


@dataclass
class Tuples:
    """One column for each element; a tuple without elements has a byte a row."""

    name: str
    elements: list[NativeColumn]

    def prefix(self, cursor: NativeCursor) -> None:
        """Walk over the prefixes of all elements."""
        for element in self.elements:
            element.prefix(cursor)

    def rows(self, cursor: NativeCursor, count: int) -> None:
        """Walk over the columns of all elements."""
        if not self.elements:
            cursor.skip(count)
        for element in self.elements:
            element.rows(cursor, count)


@dataclass
class LowCardinality:
    """A dictionary and the indexes into it. The dictionary's values are not Nullable: its first one stands for NULL."""

    name: str
    value: NativeColumn

    def prefix(self, cursor: NativeCursor) -> None:
        """Walk over the version."""
        cursor.skip(8)

    def rows(self, cursor: NativeCursor, count: int) -> None:
        """Walk over dictionary and indexes."""
        if not count:
            return
        flags = cursor.u64()
        if flags & _HAS_GLOBAL_DICTIONARY:
            raise unsupported(f"{self.name} with a shared dictionary")
        if flags & _HAS_KEYS:
            self.value.rows(cursor, cursor.u64())
        cursor.skip(cursor.u64() << (flags & 0xFF))


@dataclass
class Variant:
    """One byte a row that says which type it has, then one column for each type."""

    name: str
    alternatives: list[NativeColumn]

    def prefix(self, cursor: NativeCursor) -> None:
        """Walk over the way of writing the bytes, and the prefixes of all types."""
        if cursor.u64() != 0:
            raise unsupported("Variant in its compact form")
        for alternative in self.alternatives:
            alternative.prefix(cursor)

    def rows(self, cursor: NativeCursor, count: int) -> None:
        """Walk over the bytes and the columns."""
        chosen = cursor.data[cursor.position : cursor.position + count]
        cursor.skip(count)
        for index, alternative in enumerate(self.alternatives):
            alternative.rows(cursor, chosen.count(index))


@dataclass
class Dynamic:
    """A Variant whose types stand in the prefix; they are put there by name."""

    name: str
    variant: Variant = field(default_factory=lambda: Variant("", []))

    def prefix(self, cursor: NativeCursor) -> None:
        """Walk over the types of this block, and their prefixes."""
        from embedded.clickhouse.native_types import read_type  # here, because types are made of columns and these of types

        if cursor.u64() != _DYNAMIC_V1:
            raise unsupported("Dynamic in another form than the first (…use_flattened…, …serialization_version)")
        cursor.varint()
        alternatives: list[NativeColumn] = [Texts("SharedVariant")]
        for _ in range(cursor.varint()):
            start = cursor.position
            alternatives.append(read_type(cursor))
            cursor.drop_from(start)
            cursor.put(length_prefixed(alternatives[-1].name))
        self.variant = Variant("", sorted(alternatives, key=lambda column: column.name.encode("utf-8", "surrogateescape")))
        self.variant.prefix(cursor)

    def rows(self, cursor: NativeCursor, count: int) -> None:
        """Walk over the Variant."""
        self.variant.rows(cursor, count)


@dataclass
class Json:
    """Paths with a type of their own, paths of this block, and the rest as pairs of texts."""

    name: str
    typed_paths: list[NativeColumn]
    block_paths: list[Dynamic] = field(default_factory=list)
    rest: NativeColumn = field(default_factory=lambda: Arrays("", Tuples("", [Texts(), Texts()])))

    def prefix(self, cursor: NativeCursor) -> None:
        """Walk over the names of this block's paths, and the prefixes of all paths."""
        if cursor.u64() != _JSON_V1:
            raise unsupported("JSON in another form than the first (output_format_native_write_json_as_string, …_flattened…)")
        cursor.varint()
        names = [cursor.text() for _ in range(cursor.varint())]
        self.block_paths = [Dynamic(name) for name in names]
        for path in (*self.typed_paths, *self.block_paths):
            path.prefix(cursor)

    def rows(self, cursor: NativeCursor, count: int) -> None:
        """Walk over all paths and the rest."""
        for path in (*self.typed_paths, *self.block_paths, self.rest):
            path.rows(cursor, count)


def length_prefixed(text: str) -> bytes:
    """Return a text with its length before it, as Native writes texts."""
    raw = text.encode("utf-8", "surrogateescape")
    return write_varint(len(raw)) + raw


def write_varint(value: int) -> bytes:
    """Return an unsigned number in groups of seven bits."""
    groups = bytearray()
    while value >= 0x80:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


def unsupported(what: str) -> QueryRefused:
    """Return the refusal of a column that cannot be framed."""
    text = f"{what} cannot be sent in Native with client_protocol_version by the embedded engine: convert it, or use another FORMAT"
    return QueryRefused(48, text, "NOT_IMPLEMENTED")
