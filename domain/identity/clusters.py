"""Clusters as a pure, total function of evidence, decisions and rules. Order of arrival cannot matter: it is not an input.

1. An edge is dead when a person cut it, or when one of its nodes is *blocked* (names nobody by the rules), *crowded* (more than
   MAX_NEIGHBOURS neighbours) or *generic* (more distinct neighbours of stronger or equal namespaces than the rules allow).
2. The live edges are taken one by one, the newest first (the day last seen, then the earlier first seen, then the pair), each
   unless it would put more values of a namespace into one cluster than a profile may have, or more identifiers, or two nodes
   that a person said are to stay apart.

The profile id is the smallest member. Components of live edges do not influence each other.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from domain.identity.model import MAX_NEIGHBOURS, Decision, DecisionKind, Edge, Pair
from domain.identity.rules import CompiledIdentityRules
from schemas.identifiers import namespace_of

DeadEdgeReason = Literal["cut", "blocked", "generic", "crowded", "unique", "size", "apart"]
LOCAL_REASONS: Final[frozenset[DeadEdgeReason]] = frozenset({"cut", "blocked", "generic", "crowded"})
"""Reasons that depend on an edge and its two nodes alone."""


@dataclass(slots=True)
class Evidence:
    """What is known: edges, decisions, which nodes the rules block, and which are crowded so that their edges were not read."""

    edges: dict[Pair, Edge] = field(default_factory=dict)
    decisions: dict[tuple[DecisionKind, str, str], Decision] = field(default_factory=dict)
    blocked: Collection[str] = frozenset()
    crowded: Collection[str] = frozenset()


@dataclass(frozen=True, slots=True)
class DeadEdge:
    """Why an edge joins nothing. `subject` is the node, the namespace or the operation that it is about, `count` a number
    beside it."""

    reason: DeadEdgeReason
    subject: str = ""
    count: int = 0


@dataclass(frozen=True, slots=True)
class Resolution:
    """`labels`: node → profile id. `dead_edges`: why each edge that joined nothing was left out. `joining_edges`: the edges
    that joined two
    clusters, in the order they did; the edges in neither confirmed what was already joined."""

    labels: dict[str, str]
    dead_edges: dict[Pair, DeadEdge]
    joining_edges: tuple[Pair, ...]


class Liveness:
    """Which edges are dead by themselves (rule 1). Whoever adds an edge to the evidence later must `count` it."""

    def __init__(self, evidence: Evidence, rules: CompiledIdentityRules) -> None:
        self._evidence, self._rules = evidence, rules
        self._degree: dict[str, int] = {}
        self._strong_degree: dict[str, int] = {}
        for a, b in evidence.edges:
            self.add_edge(a, b)

    def add_edge(self, a: str, b: str) -> None:
        """Take note of an edge that was not in the evidence before; a < b."""
        self._degree[a] = self._degree.get(a, 0) + 1
        self._degree[b] = self._degree.get(b, 0) + 1
        self._strong_degree[b] = self._strong_degree.get(b, 0) + 1
        if a[0] == b[0]:
            self._strong_degree[a] = self._strong_degree.get(a, 0) + 1

    def dead_node(self, node: str) -> DeadEdge | None:
        """Why no edge of the node can be live, None when they can. All its edges must be known."""
        if node in self._evidence.blocked:
            return DeadEdge("blocked", node)
        if node in self._evidence.crowded or self._degree.get(node, 0) > MAX_NEIGHBOURS:
            return DeadEdge("crowded", node, MAX_NEIGHBOURS)
        limit, degree = self._rules.max_neighbours.get(namespace_of(node)), self._strong_degree.get(node, 0)
        return DeadEdge("generic", node, degree) if limit is not None and degree > limit else None

    def dead_edge(self, a: str, b: str) -> DeadEdge | None:
        """Why the edge is dead by itself, None when it lives."""
        cut = self._evidence.decisions.get(("cut", a, b))
        if cut is not None and cut.on:
            return DeadEdge("cut", cut.operation)
        return self.dead_node(a) or self.dead_node(b)


def resolve(
    evidence: Evidence, rules: CompiledIdentityRules, only_nodes: Collection[str] | None = None, liveness: Liveness | None = None
) -> Resolution:
    """The clusters, and why each edge counts or does not.

    `only_nodes` limits the answer to nodes that are closed under live edges; None means all. Nodes without edges stand alone.
    `liveness` is that of this evidence, if the caller has it.
    """
    liveness = liveness or Liveness(evidence, rules)
    dead_edges: dict[Pair, DeadEdge] = {}
    live: list[tuple[Pair, Edge]] = []
    nodes = set(only_nodes) if only_nodes is not None else {node for edge in evidence.edges for node in edge}
    for edge_pair, edge in evidence.edges.items():
        if not (edge_pair[0] in nodes or edge_pair[1] in nodes):
            continue
        dead_edge = liveness.dead_edge(*edge_pair)
        if dead_edge is not None:
            dead_edges[edge_pair] = dead_edge
        elif edge_pair[0] in nodes and edge_pair[1] in nodes:
            live.append((edge_pair, edge))
    clusters = _Clusters(nodes, rules, _apart_pairs(evidence, nodes))
    joining_edges = []
    for edge_pair, _ in sorted(live, key=preference_key(rules)):
        outcome = clusters.join(*edge_pair)
        if isinstance(outcome, DeadEdge):
            dead_edges[edge_pair] = outcome
        elif outcome:
            joining_edges.append(edge_pair)
    return Resolution({node: clusters.root(node) for node in nodes}, dead_edges, tuple(joining_edges))


def preference_key(rules: CompiledIdentityRules) -> Callable[[tuple[Pair, Edge]], tuple[int, int, Pair]]:
    """The key by which live edges are taken, the first one first."""
    if rules.prefer == "first":
        return lambda item: (item[1].first_ms, 0, item[0])
    return lambda item: (-item[1].last_day, item[1].first_ms, item[0])


def _apart_pairs(evidence: Evidence, nodes: Collection[str]) -> Iterator[tuple[str, str, str]]:
    """(a, b, operation) of the pairs that are to stay apart."""
    for (kind, a, b), decision in evidence.decisions.items():
        if kind == "apart" and decision.on and a in nodes and b in nodes:
            yield a, b, decision.operation


class _Clusters:
    """Union-find by the smaller node, with what each cluster holds: how many of each namespace, and whom it must not meet."""

    def __init__(self, nodes: Iterable[str], rules: CompiledIdentityRules, apart: Iterable[tuple[str, str, str]]) -> None:
        self._rules = rules
        self._parent = {node: node for node in nodes}
        self._size = dict.fromkeys(self._parent, 1)
        limited = {namespace for namespace, limit in rules.max_per_profile.items() if limit is not None}
        self._limited_counts = {node: {namespace: 1} for node in self._parent if (namespace := namespace_of(node)) in limited}
        self._forbidden: dict[str, dict[str, str]] = {}
        for a, b, operation in apart:
            self._forbidden.setdefault(a, {})[b] = operation
            self._forbidden.setdefault(b, {})[a] = operation

    def root(self, node: str) -> str:
        while self._parent[node] != node:
            self._parent[node] = self._parent[self._parent[node]]
            node = self._parent[node]
        return node

    def join(self, a: str, b: str) -> DeadEdge | bool:
        """Join the clusters of two nodes: true when they were two, false when one, or why they stay two."""
        low, high = sorted((self.root(a), self.root(b)))
        if low == high:
            return False
        if refusal := self._find_refusal(low, high):
            return refusal
        self._parent[high] = low
        self._size[low] += self._size[high]
        if counts := self._limited_counts.pop(high, None):
            low_counts = self._limited_counts.setdefault(low, {})
            for namespace, count in counts.items():
                low_counts[namespace] = low_counts.get(namespace, 0) + count
        if forbidden := self._forbidden.pop(high, None):
            self._forbidden.setdefault(low, {}).update(forbidden)
        return True

    def _find_refusal(self, low: str, high: str) -> DeadEdge | None:
        for namespace, count in self._limited_counts.get(high, {}).items():
            limit = self._rules.max_per_profile.get(namespace)
            combined = count + self._limited_counts.get(low, {}).get(namespace, 0)
            if limit is not None and combined > limit:
                return DeadEdge("unique", namespace, limit)
        if self._size[low] + self._size[high] > self._rules.max_members:
            return DeadEdge("size", count=self._rules.max_members)
        smaller, other = sorted((low, high), key=lambda root: len(self._forbidden.get(root, ())))
        for node, operation in self._forbidden.get(smaller, {}).items():
            if self.root(node) == other:
                return DeadEdge("apart", operation)
        return None


def members_of(labels: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """profile id → its nodes, sorted."""
    members: dict[str, list[str]] = {}
    for node, profile_id in labels.items():
        members.setdefault(profile_id, []).append(node)
    return {profile_id: tuple(sorted(nodes)) for profile_id, nodes in members.items()}
