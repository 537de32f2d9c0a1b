"""The evidence and the decisions of each store, and one hash over them: what two stores must agree on. Pure but for the reads."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import msgspec

from domain.identity.evidence import add_edge
from domain.identity.model import Decision, DecisionKind, Decisions, Edge, Edges, ordered_pair
from profile_store import encoding
from profile_store.port import ProfileStore
from warehouse import named_queries
from warehouse.client import Warehouse

_ENCODER: Final = msgspec.json.Encoder(order="deterministic")
_KINDS: Final[tuple[DecisionKind, ...]] = ("cut", "apart")


@dataclass(slots=True)
class IdentityState:
    """Edges and decisions by pair. `contradictions` counts those that a pair's two nodes say differently."""

    edges: Edges = field(default_factory=dict)
    decisions: Decisions = field(default_factory=dict)
    contradictions: int = 0


def identity_hash(state: IdentityState) -> str:
    """One hash over what does not depend on the order of arrival: when each pair was first and last seen, and the decisions.

    Which of two events of one instant was the first one does depend on it.
    """
    digest = hashlib.blake2b(digest_size=16)
    for key, edge in sorted(state.edges.items()):
        digest.update(_ENCODER.encode((key, edge.first_ms, edge.last_ms)))
    for decision_key, decision in sorted(state.decisions.items()):
        digest.update(_ENCODER.encode((decision_key, decision.on, decision.at_ms, decision.operation)))
    digest.update(str(state.contradictions).encode())
    return digest.hexdigest()


async def read_redis(store: ProfileStore) -> IdentityState:
    """What the profile store holds."""
    fields: dict[str, dict[str, Edge | Decision]] = {}
    async for node, data in store.scan("edges"):
        fields[node] = encoding.unpack_scanned_neighbours(data)
    return merge_node_fields(fields)


def merge_node_fields(fields: Mapping[str, Mapping[str, Edge | Decision]]) -> IdentityState:
    """Both ends of every pair put together. A node may be missing, as a scan leaves out those that have too many neighbours."""
    state = IdentityState()
    for node, node_fields in fields.items():
        for name, value in node_fields.items():
            prefix, other = ("", name) if isinstance(value, Edge) else (name[0], name[1:])
            if isinstance(value, Edge):
                add_edge(state.edges, ordered_pair(node, other), value)
            else:
                key = (_kind_of(name), *ordered_pair(node, other))
                earlier = state.decisions.get(key)
                state.decisions[key] = value if earlier is None else earlier.join(value)
            if other in fields and fields[other].get(prefix + node) != value:
                state.contradictions += 1
    return state


def _kind_of(name: str) -> DecisionKind:
    return next(kind for kind in _KINDS if encoding.decision_field(kind, name[1:]) == name)


async def read_clickhouse(warehouse: Warehouse) -> IdentityState:
    """What reached ClickHouse as links and decisions."""
    edges = {(a, b): Edge(*rest) for a, b, *rest in await named_queries.fetch_rows(warehouse, "evidence")}
    return IdentityState(
        edges, {(kind, a, b): Decision(*rest) for kind, a, b, *rest in await named_queries.fetch_rows(warehouse, "decisions")}
    )


def merge_event_evidence(edges: Edges, event_edges: Edges) -> None:
    """Join what stored events are evidence for into what was said of them. Events do not know the rules of their day."""
    for key, edge in event_edges.items():
        stored_edge = edges.get(key)
        add_edge(edges, key, edge if stored_edge is None else replace(edge, rules=stored_edge.rules))
