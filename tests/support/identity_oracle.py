"""Who belongs together, said a second time: slow, without union-find, without a store, from the whole history at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from schemas.events import Event
from schemas.identifiers import namespace_of
from schemas.records import Decided
from domain.identity.rules import Rules

DAY_MS = 86_400_000
Pair = tuple[str, str]


@dataclass
class Oracle:
    """`partition` is the answer: the clusters of all nodes of the events and decisions."""

    events: Sequence[Event]
    decisions: Sequence[Decided]
    rules: Rules
    crowded_at: int
    values: dict[str, tuple[str, str]] = field(default_factory=dict)

    def partition(self) -> list[frozenset[str]]:
        """Every cluster once, sorted."""
        for event in self.events:
            self.values.update(zip(event.nodes, event.identifiers, strict=True))
        times = self._times()
        clusters = [frozenset([node]) for node in sorted(self._nodes(times))]
        for pair in sorted((pair for pair in times if not self._dead(pair, times)), key=lambda pair: self._turn(pair, times)):
            a, b = (next(cluster for cluster in clusters if node in cluster) for node in pair)
            if a is not b and self._may(a | b):
                clusters = [cluster for cluster in clusters if cluster not in (a, b)] + [a | b]
        return sorted(clusters, key=min)

    def labels(self) -> dict[str, str]:
        """node → the smallest node of its cluster."""
        return {node: min(cluster) for cluster in self.partition() for node in cluster}

    def _times(self) -> dict[Pair, list[int]]:
        """When each pair was seen together: every event is a star around its strongest identifier."""
        times: dict[Pair, list[int]] = {}
        for event in self.events:
            for a, b in combinations(sorted(set(event.nodes)), 2):
                if a == min(event.nodes):
                    times.setdefault((a, b), []).append(event.time_ms)
        return times

    def _nodes(self, times: Mapping[Pair, object]) -> set[str]:
        decided = {node for decision in self.decisions for _, a, b in decision.pairs for node in (a, b)}
        return {node for event in self.events for node in event.nodes} | decided | {node for pair in times for node in pair}

    def _turn(self, pair: Pair, times: Mapping[Pair, list[int]]) -> tuple[int, int, Pair]:
        first, last = min(times[pair]), max(times[pair])
        return (first, 0, pair) if self.rules.prefer == "first" else (-(last // DAY_MS), first, pair)

    def _dead(self, pair: Pair, times: Mapping[Pair, object]) -> bool:
        return self._decided("cut", pair) or any(self._nobody(node, times) for node in pair)

    def _nobody(self, node: str, times: Mapping[Pair, object]) -> bool:
        namespace = namespace_of(node)
        neighbours = {a if b == node else b for a, b in times if node in (a, b)}
        most = self.rules.neighbours[namespace]
        strong = [other for other in neighbours if int(other[0], 16) <= int(node[0], 16)]
        generic = most is not None and len(strong) > most
        return generic or len(neighbours) > self.crowded_at or self.rules.blocks(node, self.values.get(node))

    def _decided(self, kind: str, pair: Pair) -> bool:
        said = [(d.at_ms, d.operation, d.on) for d in self.decisions if (kind, *pair) in d.pairs]
        return bool(said) and max(said)[2]

    def _may(self, cluster: frozenset[str]) -> bool:
        if len(cluster) > self.rules.max_members:
            return False
        for namespace, most in self.rules.per_profile.items():
            if most is not None and sum(namespace_of(node) == namespace for node in cluster) > most:
                return False
        return not any(self._decided("apart", pair) for pair in combinations(sorted(cluster), 2))
