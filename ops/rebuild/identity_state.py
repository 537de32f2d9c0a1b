"""The evidence and the decisions of each store, and one hash over them: what two stores must agree on. Pure but for the reads."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import msgspec

from domain.identity import evidence
from profile_store import encoding as values
from domain.identity.evidence import Decisions, Edges
from domain.identity.clusters import pair
from profile_store.port import Decision, DecisionKind, Edge, ProfileStore
from warehouse import named_queries as reads
from warehouse.client import Warehouse

_ENCODER: Final = msgspec.json.Encoder(order="deterministic")
_KINDS: Final[tuple[DecisionKind, ...]] = ("cut", "apart")


@dataclass(slots=True)
class Kept:
    """Edges and decisions by pair. `torn` counts those that a pair's two nodes say differently."""

    edges: Edges = field(default_factory=dict)
    decisions: Decisions = field(default_factory=dict)
    torn: int = 0


def kept_hash(kept: Kept) -> str:
    """One hash over what does not depend on the order of arrival: when each pair was first and last seen, and the decisions.

    Which of two events of one instant was the first one does depend on it.
    """
    total = hashlib.blake2b(digest_size=16)
    for key, edge in sorted(kept.edges.items()):
        total.update(_ENCODER.encode((key, edge.first_ms, edge.last_ms)))
    for decided, decision in sorted(kept.decisions.items()):
        total.update(_ENCODER.encode((decided, decision.on, decision.at_ms, decision.operation)))
    total.update(str(kept.torn).encode())
    return total.hexdigest()


async def of_redis(store: ProfileStore) -> Kept:
    """What the profile store holds."""
    fields: dict[str, dict[str, Edge | Decision]] = {}
    async for node, data in store.scan("edges"):
        fields[node] = values.ties_of_scanned(data)
    return gathered(fields)


def gathered(fields: Mapping[str, Mapping[str, Edge | Decision]]) -> Kept:
    """Both ends of every pair put together. A node may be missing, as a scan leaves out those that have too many neighbours."""
    kept = Kept()
    for node, held in fields.items():
        for name, value in held.items():
            mark, other = ("", name) if isinstance(value, Edge) else (name[0], name[1:])
            if isinstance(value, Edge):
                evidence.add(kept.edges, pair(node, other), value)
            else:
                key = (_kind_of(name), *pair(node, other))
                held_one = kept.decisions.get(key)
                kept.decisions[key] = value if held_one is None else held_one.join(value)
            if other in fields and fields[other].get(mark + node) != value:
                kept.torn += 1
    return kept


def _kind_of(name: str) -> DecisionKind:
    return next(kind for kind in _KINDS if values.decision_field(kind, name[1:]) == name)


async def of_clickhouse(warehouse: Warehouse) -> Kept:
    """What reached ClickHouse as links and decisions."""
    edges = {(a, b): Edge(*rest) for a, b, *rest in await reads.ask(warehouse, "evidence")}
    return Kept(edges, {(kind, a, b): Decision(*rest) for kind, a, b, *rest in await reads.ask(warehouse, "decisions")})


def witnessed(edges: Edges, seen: Edges) -> None:
    """Join what stored events are evidence for into what was said of them. Events do not know the rules of their day."""
    for key, edge in seen.items():
        said = edges.get(key)
        evidence.add(edges, key, edge if said is None else replace(edge, rules=said.rules))
