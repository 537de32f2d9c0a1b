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

from profile_store.port import MAX_NEIGHBOURS, Decision, DecisionKind, Edge
from schemas.identifiers import namespace_of
from domain.identity.rules import Rules

Pair = tuple[str, str]
Reason = Literal["cut", "blocked", "generic", "crowded", "unique", "size", "apart"]
LOCAL: Final[frozenset[Reason]] = frozenset({"cut", "blocked", "generic", "crowded"})
"""Reasons that depend on an edge and its two nodes alone."""


def pair(a: str, b: str) -> Pair:
    """The two nodes in their order."""
    return (a, b) if a < b else (b, a)


@dataclass(slots=True)
class Evidence:
    """What is known: edges, decisions, which nodes the rules block, and which are crowded so that their edges were not read."""

    edges: dict[Pair, Edge] = field(default_factory=dict)
    decisions: dict[tuple[DecisionKind, str, str], Decision] = field(default_factory=dict)
    blocked: Collection[str] = frozenset()
    crowded: Collection[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Dead:
    """Why an edge joins nothing. `at` is the node, the namespace or the operation that it is about, `count` a number beside it."""

    reason: Reason
    at: str = ""
    count: int = 0


@dataclass(frozen=True, slots=True)
class Resolution:
    """`labels`: node → profile id. `dead`: why each edge that joined nothing was left out. `taken`: the edges that joined two
    clusters, in the order they did; the edges in neither confirmed what was already joined."""

    labels: dict[str, str]
    dead: dict[Pair, Dead]
    taken: tuple[Pair, ...]


class Liveness:
    """Which edges are dead by themselves (rule 1). Whoever adds an edge to the evidence later must `count` it."""

    def __init__(self, evidence: Evidence, rules: Rules) -> None:
        self._evidence, self._rules = evidence, rules
        self._all: dict[str, int] = {}
        self._strong: dict[str, int] = {}
        for a, b in evidence.edges:
            self.count(a, b)

    def count(self, a: str, b: str) -> None:
        """Take note of an edge that was not in the evidence before; a < b."""
        self._all[a] = self._all.get(a, 0) + 1
        self._all[b] = self._all.get(b, 0) + 1
        self._strong[b] = self._strong.get(b, 0) + 1
        if a[0] == b[0]:
            self._strong[a] = self._strong.get(a, 0) + 1

    def of_node(self, node: str) -> Dead | None:
        """Why no edge of the node can be live, None when they can. All its edges must be known."""
        if node in self._evidence.blocked:
            return Dead("blocked", node)
        if node in self._evidence.crowded or self._all.get(node, 0) > MAX_NEIGHBOURS:
            return Dead("crowded", node, MAX_NEIGHBOURS)
        most, count = self._rules.neighbours.get(namespace_of(node)), self._strong.get(node, 0)
        return Dead("generic", node, count) if most is not None and count > most else None

    def of_edge(self, a: str, b: str) -> Dead | None:
        """Why the edge is dead by itself, None when it lives."""
        cut = self._evidence.decisions.get(("cut", a, b))
        if cut is not None and cut.on:
            return Dead("cut", cut.operation)
        return self.of_node(a) or self.of_node(b)


def resolve(
    evidence: Evidence, rules: Rules, within: Collection[str] | None = None, liveness: Liveness | None = None
) -> Resolution:
    """The clusters, and why each edge counts or does not.

    `within` limits the answer to nodes that are closed under live edges; None means all. Nodes without edges stand alone.
    `liveness` is that of this evidence, if the caller has it.
    """
    liveness = liveness or Liveness(evidence, rules)
    dead: dict[Pair, Dead] = {}
    live: list[tuple[Pair, Edge]] = []
    nodes = set(within) if within is not None else {node for edge in evidence.edges for node in edge}
    for edge_pair, edge in evidence.edges.items():
        if not (edge_pair[0] in nodes or edge_pair[1] in nodes):
            continue
        why = liveness.of_edge(*edge_pair)
        if why is not None:
            dead[edge_pair] = why
        elif edge_pair[0] in nodes and edge_pair[1] in nodes:
            live.append((edge_pair, edge))
    clusters = _Clusters(nodes, rules, _apart(evidence, nodes))
    taken = []
    for edge_pair, _ in sorted(live, key=order(rules)):
        refused = clusters.join(*edge_pair)
        if isinstance(refused, Dead):
            dead[edge_pair] = refused
        elif refused:
            taken.append(edge_pair)
    return Resolution({node: clusters.root(node) for node in nodes}, dead, tuple(taken))


def order(rules: Rules) -> Callable[[tuple[Pair, Edge]], tuple[int, int, Pair]]:
    """The key by which live edges are taken, the first one first."""
    if rules.prefer == "first":
        return lambda item: (item[1].first_ms, 0, item[0])
    return lambda item: (-item[1].last_day, item[1].first_ms, item[0])


def _apart(evidence: Evidence, nodes: Collection[str]) -> Iterator[tuple[str, str, str]]:
    """(a, b, operation) of the pairs that are to stay apart."""
    for (kind, a, b), decision in evidence.decisions.items():
        if kind == "apart" and decision.on and a in nodes and b in nodes:
            yield a, b, decision.operation


class _Clusters:
    """Union-find by the smaller node, with what each cluster holds: how many of each namespace, and whom it must not meet."""

    def __init__(self, nodes: Iterable[str], rules: Rules, apart: Iterable[tuple[str, str, str]]) -> None:
        self._rules = rules
        self._parent = {node: node for node in nodes}
        self._size = dict.fromkeys(self._parent, 1)
        limited = {namespace for namespace, most in rules.per_profile.items() if most is not None}
        self._limited = {node: {namespace: 1} for node in self._parent if (namespace := namespace_of(node)) in limited}
        self._shuns: dict[str, dict[str, str]] = {}
        for a, b, operation in apart:
            self._shuns.setdefault(a, {})[b] = operation
            self._shuns.setdefault(b, {})[a] = operation

    def root(self, node: str) -> str:
        while self._parent[node] != node:
            self._parent[node] = self._parent[self._parent[node]]
            node = self._parent[node]
        return node

    def join(self, a: str, b: str) -> Dead | bool:
        """Join the clusters of two nodes: true when they were two, false when one, or why they stay two."""
        low, high = sorted((self.root(a), self.root(b)))
        if low == high:
            return False
        if refused := self._refused(low, high):
            return refused
        self._parent[high] = low
        self._size[low] += self._size[high]
        if counts := self._limited.pop(high, None):
            held = self._limited.setdefault(low, {})
            for namespace, count in counts.items():
                held[namespace] = held.get(namespace, 0) + count
        if shuns := self._shuns.pop(high, None):
            self._shuns.setdefault(low, {}).update(shuns)
        return True

    def _refused(self, low: str, high: str) -> Dead | None:
        for namespace, count in self._limited.get(high, {}).items():
            most = self._rules.per_profile.get(namespace)
            together = count + self._limited.get(low, {}).get(namespace, 0)
            if most is not None and together > most:
                return Dead("unique", namespace, most)
        if self._size[low] + self._size[high] > self._rules.max_members:
            return Dead("size", count=self._rules.max_members)
        fewer, other = sorted((low, high), key=lambda root: len(self._shuns.get(root, ())))
        for node, operation in self._shuns.get(fewer, {}).items():
            if self.root(node) == other:
                return Dead("apart", operation)
        return None


def members_of(labels: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """profile id → its nodes, sorted."""
    found: dict[str, list[str]] = {}
    for node, profile_id in labels.items():
        found.setdefault(profile_id, []).append(node)
    return {profile_id: tuple(sorted(nodes)) for profile_id, nodes in found.items()}
