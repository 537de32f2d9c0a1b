"""Clusters of nodes as a pure, total function of evidence, decisions and rules.

Why a function of the whole evidence and not a union-find that grows: limits that count in the order of arrival give other profiles
after a replay, a rebuild, or with other workers. The order of arrival is no input here, so it cannot matter.

1. An edge is *dead* by itself when a person cut it, when the rules switch its kind of evidence off, or when one of its nodes is
   *blocked* (the rules say that the value identifies nobody), *crowded* (more than MAX_NEIGHBOURS neighbours) or *generic* (more
   distinct neighbours of stronger or equal namespaces than the rules allow). Of a node with trusted evidence the trusted neighbours
   alone are counted, so that nobody with a public write key can make a customer's e-mail generic. If all of its neighbours are
   too many to be read, its public edges are dead, and the trusted ones are not.
2. The live edges are replayed one by one: trusted evidence before public, what events name together before what only has the same
   number, then the newest first: by the day last seen, then by the earlier first seen, then by the pair. Each joins two clusters,
   unless the joined cluster would exceed a limit of a profile (values of one namespace, members in all) or would hold two nodes
   that a person set apart.

So public evidence can join what trusted evidence leaves apart, and never takes apart what it joins.

The profile id is the smallest member. Invariant: clusters that no live edge connects do not influence each other, so resolving one
closure of nodes (see `domain.identity.closure`) gives the same labels as resolving everything.

Example: a tablet t was used by user u1 on day 1 and by user u2 on day 2, and a profile may have one `user_id`. Both edges are live.
The edge (u2, t) is newer and is replayed first, so t joins u2. Then (u1, t) would put two user ids into one profile: it is left out
with the reason `unique`. The labels are {u1: u1, u2: u2, t: u2}, whichever event arrived first.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from domain.identity.model import MAX_NEIGHBOURS, Decision, DecisionKind, Edge, Pair
from domain.identity.rules import CompiledIdentityRules
from schemas.identifiers import namespace_of

DeadEdgeReason = Literal["cut", "rule_off", "blocked", "generic", "crowded", "unique", "size", "apart"]


@dataclass(slots=True)
class Evidence:
    """The input of a resolution.

    `blocked` are the nodes that the rules block. `crowded` are nodes with so many neighbours that their edges were not read, and
    `crowded_by_public` those of which only the public edges were not read.
    """

    edges: dict[Pair, Edge] = field(default_factory=dict)
    decisions: dict[tuple[DecisionKind, str, str], Decision] = field(default_factory=dict)
    blocked: Collection[str] = frozenset()
    crowded: Collection[str] = frozenset()
    crowded_by_public: Collection[str] = frozenset()


@dataclass(frozen=True, slots=True)
class DeadEdge:
    """Why an edge joins nothing.

    `subject` is the node (blocked, generic, crowded), the namespace (unique), the operation (cut, apart) or the rule of evidence
    (rule_off) behind the reason. `count` is the number of neighbours of a generic node, or the limit that an edge exceeds
    (crowded, unique, size).
    """

    reason: DeadEdgeReason
    subject: str = ""
    count: int = 0


@dataclass(frozen=True, slots=True)
class Resolution:
    """The outcome for some nodes.

    Attributes:
        labels: the profile id of each node.
        dead_edges: why an edge joined nothing, for every edge that was left out.
        joining_edges: the edges that joined two clusters, in the order of the replay. An edge that is neither here nor dead
            confirmed a cluster that earlier edges had joined already.
    """

    labels: dict[str, str]
    dead_edges: dict[Pair, DeadEdge]
    joining_edges: tuple[Pair, ...]


@dataclass(slots=True)
class _Degrees:
    """How many neighbours each node has: in `all`, and in `strong` those of stronger or equal namespaces."""

    all: dict[str, int] = field(default_factory=dict)
    strong: dict[str, int] = field(default_factory=dict)

    def add(self, a: str, b: str) -> None:
        """Count an edge, where a < b."""
        self.all[a] = self.all.get(a, 0) + 1
        self.all[b] = self.all.get(b, 0) + 1
        # a < b, so `a` is of a stronger or equal namespace and always counts for b. For `a`, b counts only if both namespaces are
        # equal: sixty cookies on one e-mail are one customer with many browsers, six customers on one e-mail are a shop's address.
        self.strong[b] = self.strong.get(b, 0) + 1
        if a[0] == b[0]:  # the first character of a node is the rank of its namespace
            self.strong[a] = self.strong.get(a, 0) + 1


class Liveness:
    """Decides which edges are dead by themselves (rule 1 of this module).

    It counts the neighbours of every node once. A caller that joins an edge into the evidence later must call `add_edge` for it.
    """

    def __init__(self, evidence: Evidence, rules: CompiledIdentityRules) -> None:
        self._evidence = evidence
        self._rules = rules
        self._degrees = _Degrees()
        self._trusted_degrees = _Degrees()
        self._phone_edges: dict[str, set[Pair]] = {}
        for pair in evidence.edges:
            self.add_edge(pair, None)

    def add_edge(self, pair: Pair, before: Edge | None) -> None:
        """Count the edge that the evidence now has of a pair; `before` is what it had of it, which was counted already."""
        if before is None:
            self._degrees.add(*pair)
            if namespace_of(pair[1]) == "caller_number" and namespace_of(pair[0]) == "phone":
                self._phone_edges.setdefault(pair[1], set()).add(pair)
        if self._evidence.edges[pair].trusted and not (before is not None and before.trusted):
            self._trusted_degrees.add(*pair)

    def dead_node(self, node: str) -> DeadEdge | None:
        """Return why no edge of the node can be live, or None when edges can be. All edges of the node must have been counted."""
        if node in self._evidence.blocked:
            return DeadEdge("blocked", node)
        is_trusted = node in self._trusted_degrees.all
        counted = self._trusted_degrees if is_trusted else self._degrees
        if node in self._evidence.crowded or counted.all.get(node, 0) > MAX_NEIGHBOURS:
            return DeadEdge("crowded", node, MAX_NEIGHBOURS)
        if not is_trusted and node in self._evidence.crowded_by_public:
            return DeadEdge("crowded", node, MAX_NEIGHBOURS)
        limit, degree = self._rules.max_neighbours.get(namespace_of(node)), counted.strong.get(node, 0)
        # The phone of a caller number's own number is no further customer. Asked only here, since the rule of an edge is that of
        # its earliest event, which may be added after the edge was counted.
        phone_edges = [self._evidence.edges[pair] for pair in self._phone_edges.get(node, ())]
        degree -= sum(edge.rule == "same_number" and edge.trusted >= is_trusted for edge in phone_edges)
        return DeadEdge("generic", node, degree) if limit is not None and degree > limit else None

    def dead_edge(self, a: str, b: str) -> DeadEdge | None:
        """Return why the edge is dead by itself, or None when it is live; a < b."""
        cut = self._evidence.decisions.get(("cut", a, b))
        if cut is not None and cut.on:
            return DeadEdge("cut", cut.operation)
        if not self._rules.same_number and self._evidence.edges[a, b].rule == "same_number":
            return DeadEdge("rule_off", "same_number")
        dead_node = self.dead_node(a) or self.dead_node(b)
        return dead_node if dead_node or self._evidence.edges[a, b].trusted else self._dead_public_edge(a, b)

    def _dead_public_edge(self, a: str, b: str) -> DeadEdge | None:
        """Return why a public edge is dead between two nodes that may have live trusted ones."""
        for node in (a, b):
            if node in self._evidence.crowded_by_public or self._degrees.all.get(node, 0) > MAX_NEIGHBOURS:
                return DeadEdge("crowded", node, MAX_NEIGHBOURS)
        return None


def resolve(
    evidence: Evidence, rules: CompiledIdentityRules, only_nodes: Collection[str] | None = None, liveness: Liveness | None = None
) -> Resolution:
    """Return the clusters, and why each edge counts or does not.

    `only_nodes` restricts the answer to nodes that are closed under live edges; None means all nodes. A node without edges is a
    cluster of its own. `liveness` is that of this evidence, for a caller that has counted it already.
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
            # Closed nodes have no live edge to the outside. If one is given, its other end belongs to a cluster of another call.
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


def preference_key(rules: CompiledIdentityRules) -> Callable[[tuple[Pair, Edge]], tuple[bool, bool, int, int, Pair]]:
    """Return the sort key of the replay: the edge with the smallest key has the first claim on a profile's limits."""
    if rules.prefer == "first":
        return lambda item: (not item[1].trusted, item[1].rule == "same_number", item[1].first_ms, 0, item[0])
    # By the day and not by the millisecond: a pair is published once a day, so what happened later within the day may be unknown.
    # Within one day the older acquaintance wins, and the pair decides last so that the order is total.
    return lambda item: (not item[1].trusted, item[1].rule == "same_number", -item[1].last_day, item[1].first_ms, item[0])


def _apart_pairs(evidence: Evidence, nodes: Collection[str]) -> Iterator[tuple[str, str, str]]:
    """Yield (a, b, operation) for each pair among the nodes that a person set apart."""
    for (kind, a, b), decision in evidence.decisions.items():
        if kind == "apart" and decision.on and a in nodes and b in nodes:
            yield a, b, decision.operation


class _Clusters:
    """Union-find whose root is the smallest node, with what limits need: sizes, counts by namespace, and the nodes set apart.

    Counts and forbidden nodes are stored at the root alone and move to the new root when two clusters join.
    """

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
        """Return the smallest node of the cluster, which is the profile id."""
        while self._parent[node] != node:
            self._parent[node] = self._parent[self._parent[node]]
            node = self._parent[node]
        return node

    def join(self, a: str, b: str) -> DeadEdge | bool:
        """Join the clusters of two nodes.

        Return True when two clusters became one, False when both nodes were in one cluster already, or why the clusters stay two.
        """
        low, high = sorted((self.root(a), self.root(b)))
        if low == high:
            return False
        if refusal := self._find_refusal(low, high):
            return refusal
        self._parent[high] = low  # the smaller root stays the root: the profile id does not depend on the order of joins
        self._size[low] += self._size[high]
        if counts := self._limited_counts.pop(high, None):
            low_counts = self._limited_counts.setdefault(low, {})
            for namespace, count in counts.items():
                low_counts[namespace] = low_counts.get(namespace, 0) + count
        if forbidden := self._forbidden.pop(high, None):
            self._forbidden.setdefault(low, {}).update(forbidden)
        return True

    def _find_refusal(self, low: str, high: str) -> DeadEdge | None:
        """Return the first limit that the joined cluster would exceed, or None."""
        for namespace, count in self._limited_counts.get(high, {}).items():
            limit = self._rules.max_per_profile.get(namespace)
            combined = count + self._limited_counts.get(low, {}).get(namespace, 0)
            if limit is not None and combined > limit:
                return DeadEdge("unique", namespace, limit)
        if self._size[low] + self._size[high] > self._rules.max_members:
            return DeadEdge("size", count=self._rules.max_members)
        # Every pair that is set apart is recorded at both of its ends, so searching the shorter of the two lists finds it.
        smaller, other = sorted((low, high), key=lambda root: len(self._forbidden.get(root, ())))
        for node, operation in self._forbidden.get(smaller, {}).items():
            if self.root(node) == other:
                return DeadEdge("apart", operation)
        return None


def members_of(labels: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Return the nodes of each profile id in ascending order."""
    members: dict[str, list[str]] = {}
    for node, profile_id in labels.items():
        members.setdefault(profile_id, []).append(node)
    return {profile_id: tuple(sorted(nodes)) for profile_id, nodes in members.items()}
