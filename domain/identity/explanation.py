"""Explains a resolution: why two nodes are one profile, why not, and how a profile came about. Pure.

It decides nothing. It reads what `clusters.resolve` decided and adds the evidence, the rule and the earlier edges behind it, so
that every answer can be checked by hand (Why is always answered). An explainer knows the edges that the resolution decided about:
those with at least one end among its nodes.

Example: the tablet t was used by user u1 on day 1 and by user u2 on day 2, and a profile may have one `user_id`. The pair (u1, t)
is `apart`. The path is the single step from u1 to t, refused as `unique` with limit 1; `end_values` are (u1) and (u2), and
`earlier_links` is the edge (u2, t), which was newer and took the place.
"""

import heapq
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from domain.identity.clusters import DeadEdge, Evidence, Resolution, preference_key
from domain.identity.model import MAX_NEIGHBOURS, Decision, Edge, Pair, ordered_pair
from domain.identity.rules import CompiledIdentityRules
from schemas.identifiers import namespace_of

PairRelation = Literal["same", "together", "apart", "never_together"]
EdgeOutcome = Literal["joined", "confirmed", "left_out"]


@dataclass(frozen=True, slots=True)
class EdgeRefusal:
    """Why an edge joins nothing, with the facts behind the reason.

    Attributes:
        dead: the reason as the resolution gave it.
        limit: the number that the rules set (generic, crowded, unique, size).
        decision: what a person decided (cut, apart).
        pair: the two nodes that a person set apart.
        end_values: for each end of the edge, what its cluster held when the edge's turn came: its values of the namespace (unique)
            or all its nodes (size).
        earlier_links: the edges, replayed earlier, that had connected the ends with those values, or with the two nodes set apart.
    """

    dead: DeadEdge
    limit: int | None = None
    decision: Decision | None = None
    pair: Pair | None = None
    end_values: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    earlier_links: tuple[Pair, ...] = ()


@dataclass(frozen=True, slots=True)
class EvidenceStep:
    """One edge of a path, walked from `start` to `end`; `refusal` is None when the edge counts."""

    start: str
    end: str
    edge: Edge
    refusal: EdgeRefusal | None = None


@dataclass(frozen=True, slots=True)
class PairExplanation:
    """The answer about two nodes.

    Attributes:
        relation: `same` (one node), `together` (one profile), `apart` (evidence connects them and does not count), or
            `never_together` (no evidence connects them).
        steps: for `together`, the joining edges between the two, the only path over joining edges. It is also the strongest path:
            no other path has a stronger weakest edge. For `apart`, a path over all evidence with as few dead edges as possible and,
            among these, as few edges. Otherwise empty.
        direct_step: the evidence of the two nodes themselves, whether it counts or not.
    """

    relation: PairRelation
    steps: tuple[EvidenceStep, ...] = ()
    direct_step: EvidenceStep | None = None

    @property
    def refused_steps(self) -> tuple[EvidenceStep, ...]:
        """Return the steps that keep the two nodes apart."""
        return tuple(step for step in self.steps if step.refusal is not None)


@dataclass(frozen=True, slots=True)
class ReplayedEdge:
    """One edge of the replay: it `joined` two clusters, `confirmed` that both ends were in one already, or was `left_out`."""

    step: EvidenceStep
    outcome: EdgeOutcome


class IdentityExplainer:
    """Explains one resolution. Evidence and rules must be those that the resolution was computed from."""

    def __init__(self, evidence: Evidence, rules: CompiledIdentityRules, resolution: Resolution) -> None:
        self._evidence = evidence
        self._rules = rules
        self._resolution = resolution
        self._preference_key = preference_key(rules)
        self._joining_neighbours = _adjacency(resolution.joining_edges)
        self._join_rank = {edge_pair: number for number, edge_pair in enumerate(resolution.joining_edges)}

    def explain_pair(self, a: str, b: str) -> PairExplanation:
        """Return why two nodes are one profile, or why not. A node without evidence is `never_together` with any other."""
        if a == b:
            return PairExplanation("same")
        labels = self._resolution.labels
        # The resolution decided about an edge only if one of its ends is among its nodes. Any other edge would look live here,
        # because it is missing from `dead_edges`.
        direct_step = self._step(a, b) if ordered_pair(a, b) in self._evidence.edges and (a in labels or b in labels) else None
        if labels.get(a, a) == labels.get(b, b):
            # Joining edges form a tree within a cluster, since an edge between two joined nodes only confirms. The replay takes the
            # strongest edge first, so this tree is a maximum spanning tree, whose paths are the strongest ones.
            return PairExplanation("together", self._steps(_shortest_path(self._joining_neighbours, a, b)), direct_step)
        path = self._path_with_fewest_dead_edges(a, b)
        return PairExplanation("apart", self._steps(path), direct_step) if path else PairExplanation("never_together")

    def replay(self, nodes: Collection[str]) -> tuple[ReplayedEdge, ...]:
        """Return every edge of these nodes in the order of the replay; a dead edge stands where its turn would have been."""
        selected = [item for item in self._judged_edges() if item[0][0] in nodes or item[0][1] in nodes]
        return tuple(ReplayedEdge(self._step(*key), self._outcome(key)) for key, _ in sorted(selected, key=self._preference_key))

    def _outcome(self, key: Pair) -> EdgeOutcome:
        if key in self._resolution.dead_edges:
            return "left_out"
        return "joined" if key in self._join_rank else "confirmed"

    def _judged_edges(self) -> Iterator[tuple[Pair, Edge]]:
        """Yield the edges that the resolution decided about: those with an end among its nodes."""
        labels = self._resolution.labels
        return ((key, edge) for key, edge in self._evidence.edges.items() if key[0] in labels or key[1] in labels)

    def _steps(self, path: Iterable[tuple[str, str]]) -> tuple[EvidenceStep, ...]:
        return tuple(self._step(start, end) for start, end in path)

    def _step(self, start: str, end: str) -> EvidenceStep:
        key = ordered_pair(start, end)
        dead = self._resolution.dead_edges.get(key)
        return EvidenceStep(start, end, self._evidence.edges[key], None if dead is None else self._refusal(start, end, dead))

    def _path_with_fewest_dead_edges(self, a: str, b: str) -> list[tuple[str, str]]:
        """Return the path with the smallest (number of dead edges, number of edges); empty when there is no path."""
        dead_edges = self._resolution.dead_edges
        neighbours = _adjacency(key for key, _ in self._judged_edges())
        # Dijkstra's algorithm with costs that are compared as tuples. Node names at the end make equal costs deterministic.
        predecessors: dict[str, str] = {}
        queue: list[tuple[int, int, str, str]] = [(0, 0, a, a)]
        while queue:
            refusals, hops, node, previous = heapq.heappop(queue)
            if node in predecessors:  # the queue may have a node several times, and its cheapest entry came out first
                continue
            predecessors[node] = previous
            if node == b:
                return _trace_path(predecessors, b)
            for other in neighbours.get(node, ()):
                if other not in predecessors:
                    heapq.heappush(queue, (refusals + (ordered_pair(node, other) in dead_edges), hops + 1, other, node))
        return []

    def _refusal(self, start: str, end: str, dead: DeadEdge) -> EdgeRefusal:
        if dead.reason == "cut":
            return EdgeRefusal(dead, decision=self._evidence.decisions[("cut", *ordered_pair(start, end))])
        if dead.reason == "generic":
            return EdgeRefusal(dead, limit=self._rules.max_neighbours[namespace_of(dead.subject)])
        if dead.reason == "crowded":
            return EdgeRefusal(dead, limit=MAX_NEIGHBOURS)
        if dead.reason in ("blocked", "rule_off"):
            return EdgeRefusal(dead)
        return self._refusal_at_turn(start, end, dead)

    def _refusal_at_turn(self, start: str, end: str, dead: DeadEdge) -> EdgeRefusal:
        """Return a refusal that depends on the clusters of both ends at the moment when the edge's turn came."""
        key = ordered_pair(start, end)
        order_key = self._preference_key((key, self._evidence.edges[key]))
        # The clusters of that moment are what the joining edges before this one connect.
        earlier_neighbours = _adjacency(
            edge_pair
            for edge_pair in self._resolution.joining_edges
            if self._preference_key((edge_pair, self._evidence.edges[edge_pair])) < order_key
        )
        start_cluster, end_cluster = _reachable(earlier_neighbours, start), _reachable(earlier_neighbours, end)
        if dead.reason == "apart":
            # One operation may set several pairs apart. They are tried in sorted order, so that the same pair is always named.
            for (kind, low, high), decision in sorted(self._evidence.decisions.items()):
                sides_meet = (low in start_cluster and high in end_cluster) or (low in end_cluster and high in start_cluster)
                if kind == "apart" and decision.on and decision.operation == dead.subject and sides_meet:
                    links = self._joining_links(earlier_neighbours, ((start, start_cluster), (end, end_cluster)), (low, high))
                    return EdgeRefusal(dead, decision=decision, pair=(low, high), earlier_links=links)
        if dead.reason == "size":
            return EdgeRefusal(dead, limit=dead.count, end_values=(tuple(sorted(start_cluster)), tuple(sorted(end_cluster))))
        start_values, end_values = (
            tuple(sorted(node for node in cluster if namespace_of(node) == dead.subject))
            for cluster in (start_cluster, end_cluster)
        )
        links = self._joining_links(earlier_neighbours, ((start, start_cluster), (end, end_cluster)), (*start_values, *end_values))
        return EdgeRefusal(dead, limit=dead.count, end_values=(start_values, end_values), earlier_links=links)

    def _joining_links(
        self,
        earlier_neighbours: Mapping[str, Collection[str]],
        end_clusters: Iterable[tuple[str, Collection[str]]],
        nodes: Iterable[str],
    ) -> tuple[Pair, ...]:
        """Return the edges that had connected each end with those nodes that are in its cluster, in the order of the replay."""
        targets = list(nodes)
        links = {
            ordered_pair(*step)
            for end, cluster in end_clusters
            for node in targets
            if node in cluster
            for step in _shortest_path(earlier_neighbours, end, node)
        }
        return tuple(sorted(links, key=self._join_rank.__getitem__))


def _adjacency(pairs: Iterable[Pair]) -> dict[str, list[str]]:
    neighbours: dict[str, list[str]] = {}
    for a, b in pairs:
        neighbours.setdefault(a, []).append(b)
        neighbours.setdefault(b, []).append(a)
    return neighbours


def _breadth_first(neighbours: Mapping[str, Collection[str]], start: str) -> dict[str, str]:
    """Return every node that can be reached, with the node before it on a shortest path."""
    predecessors = {start: start}
    level = [start]
    while level:
        next_level = []
        for node in level:
            for other in neighbours.get(node, ()):
                if other not in predecessors:
                    predecessors[other] = node
                    next_level.append(other)
        level = next_level
    return predecessors


def _reachable(neighbours: Mapping[str, Collection[str]], start: str) -> frozenset[str]:
    return frozenset(_breadth_first(neighbours, start))


def _shortest_path(neighbours: Mapping[str, Collection[str]], start: str, end: str) -> list[tuple[str, str]]:
    return _trace_path(_breadth_first(neighbours, start), end)


def _trace_path(predecessors: Mapping[str, str], end: str) -> list[tuple[str, str]]:
    """Return the steps that lead to `end`; empty when it was not reached."""
    steps = []
    while end in predecessors and predecessors[end] != end:
        steps.append((predecessors[end], end))
        end = predecessors[end]
    return steps[::-1]
