"""The evidence and the decisions about identity of one store, and a hash over them that shows whether two stores agree. Pure."""

import hashlib
from dataclasses import dataclass, field, replace
from typing import Final

import msgspec

from domain.identity.evidence import add_edge
from domain.identity.model import Decisions, Edges

_ENCODER: Final = msgspec.json.Encoder(order="deterministic")


@dataclass(slots=True)
class IdentityState:
    """Edges and decisions by pair of nodes, from one store.

    A store that has each pair at both of its nodes may contradict itself; `contradictions` counts the values that differ between
    the two nodes.
    """

    edges: Edges = field(default_factory=dict)
    decisions: Decisions = field(default_factory=dict)
    contradictions: int = 0


def identity_hash(state: IdentityState) -> str:
    """Return a hash over the decisions, and over when each pair was seen together for the first and the last time, and its trust.

    The hash leaves out the ids of these events. When two events of a pair have the same millisecond, the event that the store names
    depends on the order of arrival, and two stores with different orders are both right.
    """
    # Stores yield pairs in different orders, hence the sorting. Each item is a JSON array, which marks its own end, so two
    # different states cannot come to the same bytes.
    digest = hashlib.blake2b(digest_size=16)
    for key, edge in sorted(state.edges.items()):
        digest.update(_ENCODER.encode((key, edge.trusted, edge.first_ms, edge.last_ms)))
    for decision_key, decision in sorted(state.decisions.items()):
        digest.update(_ENCODER.encode((decision_key, decision.on, decision.at_ms, decision.operation)))
    # A store that contradicts itself must not have the hash of one that does not, even if the joined values are the same.
    digest.update(str(state.contradictions).encode())
    return digest.hexdigest()


def merge_event_evidence(edges: Edges, event_edges: Edges) -> None:
    """Join the evidence of stored events into the published evidence `edges`, in place.

    Each of the two may have what the other lacks. Only the events show a pair whose link record is still on its way. Only the links
    show a pair whose events are no longer stored. The version of the rules comes from the published evidence, because an event does
    not carry the version that was in force on its day.
    """
    for key, edge in event_edges.items():
        stored_edge = edges.get(key)
        add_edge(edges, key, edge if stored_edge is None else replace(edge, rules=stored_edge.rules))
