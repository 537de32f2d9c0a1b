"""The bytes of the store's values, and what `scan` says of each. Pure."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from profile_store.port import Document, Edge, Label, Members

MAX_GUARD_BYTES: Final = 128
"""With the offset's 20 digits this fits the header bytes that `lua/save.lua` reads."""

_JSON: Final = msgspec.json.Encoder(order="deterministic")
_MEMBERS: Final = msgspec.json.Decoder(tuple[tuple[str, ...], int, str])
_EDGE: Final = msgspec.json.Decoder(tuple[int, int, str, str])
_PRESENT: Final = b"="
_ABSENT: Final = b"-"


def pack_document(document: Document) -> bytes:
    """`<offset> <guard>\\n`, a byte that says whether there is data, the data."""
    check_guard(document)
    header = f"{document.offset} {document.guard}\n".encode()
    return header + (_ABSENT if document.data is None else _PRESENT + document.data)


def check_guard(document: Document) -> None:
    """Refuse a guard that cannot be stored: a programming error, hence ValueError."""
    if "\n" in document.guard or len(document.guard.encode()) > MAX_GUARD_BYTES:
        raise ValueError(f"a document's guard is one line of at most {MAX_GUARD_BYTES} bytes: take it from Place.name")


def unpack_document(value: bytes | None) -> Document:
    """The document in a stored value; an empty one when there is none."""
    if value is None:
        return Document()
    end = value.index(b"\n")
    offset, _, guard = value[:end].decode().partition(" ")
    data = value[end + 2 :] if value[end + 1 : end + 2] == _PRESENT else None
    return Document(data, guard, int(offset))


def pack_label(label: Label) -> bytes:
    """`<version> <profile>`."""
    return f"{label.version} {label.profile_id}".encode()


def unpack_label(node: str, value: bytes | None) -> Label:
    """The label in a stored value; the node itself at version 0 when there is none."""
    if value is None:
        return Label(node, 0)
    version, _, profile_id = value.decode().partition(" ")
    return Label(profile_id, int(version))


def pack_members(members: Members) -> bytes:
    """JSON `[nodes, version, merged_into]`."""
    return _JSON.encode((members.nodes, members.version, members.merged_into))


def unpack_members(profile_id: str, value: bytes | None) -> Members:
    """The members in a stored value; the profile id alone at version 0 when there is none."""
    return Members((profile_id,), 0) if value is None else Members(*_MEMBERS.decode(value))


def pack_edge(edge: Edge) -> bytes:
    """JSON `[first_ms, last_day, event_id, source]`."""
    return _JSON.encode((edge.first_ms, edge.last_day, edge.event_id, edge.source))


def unpack_edge(value: bytes) -> Edge:
    """The edge in a stored value."""
    return Edge(*_EDGE.decode(value))


def edges_as_scanned(edges: Mapping[str, Edge]) -> bytes:
    """All evidence of a node: JSON `{neighbour: [first_ms, last_day, event_id, source]}`, neighbours sorted."""
    rows: dict[str, Any] = {n: (e.first_ms, e.last_day, e.event_id, e.source) for n, e in edges.items()}
    return _JSON.encode(rows)
