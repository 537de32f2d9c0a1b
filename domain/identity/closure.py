"""The part of the evidence that decides about some nodes: their closure. Pure; `profile_store.identity_loader` reads it.

The link agent must not load all evidence for each slice. It loads the closure of the slice's nodes: all nodes that can be reached
over live edges, and all nodes that share a profile with one of these today. Invariant: a closure is closed in both ways, so
`resolve` over its nodes gives each of them the label that `resolve` over all evidence would give.

Example: u1, m and c are one profile, and a slice brings a decision that cuts (u1, m). No live edge leads from u1 to m any more, yet
m must be relabelled: it is found as a member of u1's profile. So following live edges alone is not enough.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

from domain.identity.clusters import Evidence, Liveness
from domain.identity.evidence import add_edge
from domain.identity.model import Decision, DecisionKind, Decisions, Edge, Edges, Label, Members, Neighbours, Pair, ordered_pair
from domain.identity.rules import CompiledIdentityRules


@dataclass(slots=True)
class Closure:
    """What the link agent knows when it decides about the nodes of a slice. Make one with `start` and extend it level by level.

    Attributes:
        evidence: the stored evidence of the nodes, with the new evidence of the slice joined into it.
        liveness: which edges of `evidence` are dead by themselves.
        nodes: the nodes of the closure; each of them is resolved.
        stored_edges: the edges as the store has them, so that only edges that changed are written.
        stored_decisions: the decisions as the store has them.
        labels: the stored label of each node.
        members: the stored member list of each profile that one of the nodes belongs to.
        blocked: the nodes that the rules block. `evidence` sees this very set.
        crowded: the nodes whose edges were not read because there are too many. `evidence` sees this very set.
    """

    evidence: Evidence
    liveness: Liveness
    blocked: set[str]
    crowded: set[str]
    nodes: set[str] = field(default_factory=set)
    stored_edges: Edges = field(default_factory=dict)
    stored_decisions: Decisions = field(default_factory=dict)
    labels: dict[str, Label] = field(default_factory=dict)
    members: dict[str, Members] = field(default_factory=dict)
    _neighbours: dict[str, set[str]] = field(default_factory=dict)

    @classmethod
    def start(cls, edges: Edges, decisions: Decisions, rules: CompiledIdentityRules) -> Self:
        """Return a closure that knows the new evidence of a slice and nothing of what is stored."""
        blocked: set[str] = set()
        crowded: set[str] = set()
        # Copies, because stored edges are joined into them: the slice's own mappings must go on naming what is new, since only
        # these pairs are compared with the store and written.
        evidence = Evidence(dict(edges), dict(decisions), blocked, crowded)
        closure = cls(evidence, Liveness(evidence, rules), blocked, crowded)
        for pair in edges:
            closure._add_neighbour(*pair)
        return closure

    def add_stored(self, node: str, neighbours: Neighbours) -> None:
        """Join what the store knows about the pairs of one node into the evidence."""
        if neighbours.crowded:
            self.crowded.add(node)
        for other, edge in neighbours.edges.items():
            self._add_neighbour(node, other)
            self._add_stored_edge(ordered_pair(node, other), edge)
        for (kind, other), decision in neighbours.decisions.items():
            self._add_stored_decision((kind, *ordered_pair(node, other)), decision)

    def _add_stored_edge(self, pair: Pair, edge: Edge) -> None:
        if pair in self.stored_edges:  # every edge is stored at both of its ends and may be read twice
            return
        self.stored_edges[pair] = edge
        if pair not in self.evidence.edges:
            self.liveness.add_edge(*pair)  # the new edges of the slice were counted by `start`; none may count twice
        add_edge(self.evidence.edges, pair, edge)

    def _add_stored_decision(self, key: tuple[DecisionKind, str, str], decision: Decision) -> None:
        if key in self.stored_decisions:  # read at the other end of the pair already
            return
        self.stored_decisions[key] = decision
        new_decision = self.evidence.decisions.get(key)
        self.evidence.decisions[key] = decision if new_decision is None else new_decision.join(decision)

    def _add_neighbour(self, a: str, b: str) -> None:
        self._neighbours.setdefault(a, set()).add(b)
        self._neighbours.setdefault(b, set()).add(a)

    def neighbours_of(self, nodes: Iterable[str]) -> set[str]:
        """Return the other ends of all edges of these nodes, dead ones included."""
        return {other for node in nodes for other in self._neighbours.get(node, ())}

    def live_neighbours(self, nodes: Iterable[str]) -> set[str]:
        """Return the other ends of the live edges of these nodes. The edges of both ends must have been added."""
        pairs = ((node, other) for node in nodes for other in self._neighbours.get(node, ()))
        return {other for node, other in pairs if self.liveness.dead_edge(*ordered_pair(node, other)) is None}

    def owners_of(self, node: str) -> set[str]:
        """Return the owners of the first events of the node's edges: their fragments know the value behind the node."""
        edges = (self.evidence.edges[ordered_pair(node, other)] for other in self._neighbours.get(node, ()))
        return {edge.owner for edge in edges if edge.owner}
