"""The evidence and the decisions about identity that a store has, and one hash over them: two stores must agree on it. Pure."""

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

    A store that keeps each pair at both of its nodes may contradict itself; `contradictions` counts the values that it has
    differently.
    """

    edges: Edges = field(default_factory=dict)
    decisions: Decisions = field(default_factory=dict)
    contradictions: int = 0


def identity_hash(state: IdentityState) -> str:
    """Return a hash over the decisions, and over when each pair was seen together for the first and the last time.

    It leaves out which event was the first one. Of two events of one millisecond that depends on the order in which they
    arrived, and two stores that saw them in different orders are both right.
    """
    digest = hashlib.blake2b(digest_size=16)
    for key, edge in sorted(state.edges.items()):
        digest.update(_ENCODER.encode((key, edge.first_ms, edge.last_ms)))
    for decision_key, decision in sorted(state.decisions.items()):
        digest.update(_ENCODER.encode((decision_key, decision.on, decision.at_ms, decision.operation)))
    # A store that contradicts itself must not have the hash of one that does not, even if the joined values are the same.
    digest.update(str(state.contradictions).encode())
    return digest.hexdigest()


def merge_event_evidence(edges: Edges, event_edges: Edges) -> None:
    """Join the evidence of stored events into the published evidence `edges`, in place.

    The two overlap and complete each other: an event whose link record is on its way is in the first alone, and a link that
    events stored long ago can no longer show is in the second alone. The version of the rules is taken from the published
    evidence, since an event does not say by which rules it was linked on its day.
    """
    for key, edge in event_edges.items():
        stored_edge = edges.get(key)
        add_edge(edges, key, edge if stored_edge is None else replace(edge, rules=stored_edge.rules))
