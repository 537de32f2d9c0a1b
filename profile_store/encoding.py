"""Encodes and decodes the values in the store and those that `scan` yields. Pure; used by the Redis drivers and MemoryStore."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, Literal

import msgspec

from domain.identity.model import Decision, DecisionKind, Edge, Label, Members, Neighbours
from profile_store.port import MAX_FIELDS, DocumentKind, GuardedDocument, Writes
from runtime.bus.epochs import AdoptedLog

MAX_GUARD_BYTES: Final = 128
"""How long a guard may be: with the 20 digits of an offset it fits into the header bytes that `lua/save.lua` reads."""

_JSON: Final = msgspec.json.Encoder(order="deterministic")
_MEMBERS_DECODER: Final = msgspec.json.Decoder(tuple[tuple[str, ...], int, str, str, str, int])


class _StoredEdge(msgspec.Struct, array_like=True):
    """An edge as it is stored: the fields of `Edge`. Edges from before there was trust have no such field, and count as trusted."""

    first_ms: int
    first_event: str
    last_ms: int
    last_event: str
    source: str
    owner: str
    rule: str
    rules: str
    trusted: bool = True


_EDGE_DECODER: Final = msgspec.json.Decoder(_StoredEdge)
_DECISION_DECODER: Final = msgspec.json.Decoder(tuple[bool, int, str])
_ADOPTED_LOG_DECODER: Final = msgspec.json.Decoder(AdoptedLog)
_SCANNED_DECODER: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_KIND_OF_MARK: Final[dict[str, DecisionKind]] = {"-": "cut", "!": "apart"}
_MARK_OF_KIND: Final[dict[DecisionKind, str]] = {kind: mark for mark, kind in _KIND_OF_MARK.items()}
FieldKind = Literal["edges", "public_edges"]
_PRESENT: Final = b"="
_ABSENT: Final = b"-"


def pack_document(document: GuardedDocument) -> bytes:
    """Return `<offset> <guard>\\n`, a byte for whether there is data, and the data. Raises ValueError for a wrong guard."""
    check_guard(document)
    header = f"{document.offset} {document.guard}\n".encode()
    return header + (_ABSENT if document.data is None else _PRESENT + document.data)


def check_guard(document: GuardedDocument) -> None:
    """Raise ValueError for a guard that cannot be stored, which is a programming error."""
    if "\n" in document.guard or len(document.guard.encode()) > MAX_GUARD_BYTES:
        raise ValueError(
            f"a document's guard is one line of at most {MAX_GUARD_BYTES} bytes: take it from TopicPartition.guard_name"
        )


def unpack_document(value: bytes | None) -> GuardedDocument:
    """Return the document in a stored value, or an empty document for None."""
    if value is None:
        return GuardedDocument()
    end = value.index(b"\n")
    offset, _, guard = value[:end].decode().partition(" ")
    data = value[end + 2 :] if value[end + 1 : end + 2] == _PRESENT else None
    return GuardedDocument(data, guard, int(offset))


def pack_label(label: Label) -> bytes:
    """Return `<version> <profile>`."""
    return f"{label.version} {label.profile_id}".encode()


def unpack_label(node: str, value: bytes | None) -> Label:
    """Return the label in a stored value, or (the node itself, version 0) for None."""
    if value is None:
        return Label(node, 0)
    version, _, profile_id = value.decode().partition(" ")
    return Label(profile_id, int(version))


def pack_members(members: Members) -> bytes:
    """Return the JSON array `[nodes, version, merged_into, split_from, cause, at_ms]`."""
    m = members
    return _JSON.encode((m.nodes, m.version, m.merged_into, m.split_from, m.cause, m.at_ms))


def unpack_members(profile_id: str, value: bytes | None) -> Members:
    """Return the member list in a stored value, or the profile id alone at version 0 for None."""
    return Members((profile_id,), 0) if value is None else Members(*_MEMBERS_DECODER.decode(value))


def edge_field_kind(edge: Edge) -> FieldKind:
    """Return in which of a node's two hashes an edge is: the trusted ones can be read however many public ones there are."""
    return "edges" if edge.trusted else "public_edges"


def pack_edge(edge: Edge) -> bytes:
    """Return the JSON array `[first_ms, first_event, last_ms, last_event, source, owner, rule, rules, trusted]`."""
    e = edge
    return _JSON.encode((e.first_ms, e.first_event, e.last_ms, e.last_event, e.source, e.owner, e.rule, e.rules, e.trusted))


def unpack_edge(value: bytes) -> Edge:
    """Return the edge in a stored value."""
    return Edge(*msgspec.structs.astuple(_EDGE_DECODER.decode(value)))


def pack_decision(decision: Decision) -> bytes:
    """Return the JSON array `[on, at_ms, operation]`."""
    return _JSON.encode((decision.on, decision.at_ms, decision.operation))


def decision_field(kind: DecisionKind, neighbour: str) -> str:
    """Return the hash field of a decision: the neighbour after a mark that no node begins with, so that no edge has this field."""
    return _MARK_OF_KIND[kind] + neighbour


def unpack_neighbours(fields: Mapping[bytes, bytes] | None, public_fields: Mapping[bytes, bytes] | None) -> Neighbours:
    """Return the edges and decisions in a node's two hashes; None stands for a hash with too many fields, more than MAX_FIELDS."""
    if fields is None or len(fields) > MAX_FIELDS:
        return Neighbours(crowded=True)
    if public_fields is None or len(public_fields) > MAX_FIELDS:
        return replace(unpack_neighbours(fields, {}), crowded_by_public=True)
    edges: dict[str, Edge] = {}
    decisions: dict[tuple[DecisionKind, str], Decision] = {}
    # An edge that has become trusted stays behind as a public one, so the trusted ones come last.
    for name, value in (*public_fields.items(), *fields.items()):
        field_name = name.decode()
        if (kind := _KIND_OF_MARK.get(field_name[0])) is not None:
            decisions[kind, field_name[1:]] = Decision(*_DECISION_DECODER.decode(value))
        else:
            edges[field_name] = unpack_edge(value)
    return Neighbours(edges, decisions)


def pack_adopted_log(adopted: AdoptedLog) -> bytes:
    """Return the Kafka log that the positions stand for as JSON."""
    return _JSON.encode(adopted)


def unpack_adopted_log(value: bytes) -> AdoptedLog:
    """Return the log that `pack_adopted_log` has encoded."""
    return _ADOPTED_LOG_DECODER.decode(value)


def pack_scanned_neighbours(fields: Mapping[bytes, bytes], public_fields: Mapping[bytes, bytes]) -> bytes:
    """Return a node's two hashes as one value: the JSON object `{field: value}` with sorted fields."""
    return _JSON.encode({name.decode(): msgspec.Raw(value) for name, value in {**public_fields, **fields}.items()})


def unpack_scanned_neighbours(value: bytes) -> dict[str, Edge | Decision]:
    """Return the fields of a scanned node by name: edges by neighbour, decisions by `decision_field`."""
    entries: dict[str, Edge | Decision] = {}
    for name, raw in _SCANNED_DECODER.decode(value).items():
        entries[name] = Decision(*_DECISION_DECODER.decode(raw)) if name[0] in _KIND_OF_MARK else unpack_edge(bytes(raw))
    return entries


class PackedWrites(msgspec.Struct, frozen=True, array_like=True):
    """The writes of a slice as bytes. `fields` holds every edge and decision twice, for both nodes: (kind, node, field, value)."""

    documents: list[tuple[DocumentKind, str, bytes]]
    plain: list[tuple[Literal["label", "members"], str, bytes]]
    fields: list[tuple[FieldKind, str, str, bytes]]
    timers: list[tuple[str, int | None]]


def pack_writes(writes: Writes) -> PackedWrites:
    """Encode the writes of a slice. Raises ValueError for a guard that cannot be stored."""
    fields: list[tuple[FieldKind, str, str, bytes]] = []
    for (a, b), edge in writes.edges.items():
        value, field_kind = pack_edge(edge), edge_field_kind(edge)
        fields += ((field_kind, a, b, value), (field_kind, b, a, value))
    for (decision_kind, a, b), decision in writes.decisions.items():
        value = pack_decision(decision)
        fields += (("edges", a, decision_field(decision_kind, b), value), ("edges", b, decision_field(decision_kind, a), value))
    plain: list[tuple[Literal["label", "members"], str, bytes]] = []
    plain += [("label", node, pack_label(label)) for node, label in writes.labels.items()]
    plain += [("members", name, pack_members(members)) for name, members in writes.members.items()]
    documents = [(kind, name, pack_document(document)) for (kind, name), document in writes.documents.items()]
    return PackedWrites(documents, plain, fields, list(writes.timers.items()))
