"""A second, independent computation of identity: slow, without union-find or store, from the whole history at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from domain.identity.rules import CompiledIdentityRules
from schemas.events import Event
from schemas.identifiers import namespace_of, node
from schemas.records import LinkDecision
from tests.support.events import SECRET

DAY_MS = 86_400_000
Pair = tuple[str, str]


@dataclass
class IdentityOracle:
    """The expected clusters of all nodes of the events and decisions, which `partition` returns."""

    events: Sequence[Event]
    decisions: Sequence[LinkDecision]
    rules: CompiledIdentityRules
    crowded_at: int
    values: dict[str, tuple[str, str]] = field(default_factory=dict)
    trusted: set[Pair] = field(default_factory=set)

    def partition(self) -> list[frozenset[str]]:
        """Return every cluster once, sorted."""
        for event in self.events:
            self.values.update(zip(event.nodes, event.identifiers, strict=True))
        times = self._times()
        clusters = [frozenset([node]) for node in sorted(self._nodes(times))]
        for pair in sorted(
            (pair for pair in times if not self._is_dead(pair, times)), key=lambda pair: self._priority(pair, times)
        ):
            a, b = (next(cluster for cluster in clusters if node in cluster) for node in pair)
            if a is not b and self._may_join(a | b):
                clusters = [cluster for cluster in clusters if cluster not in (a, b)] + [a | b]
        return sorted(clusters, key=min)

    def labels(self) -> dict[str, str]:
        """Return a map from each node to the smallest node of its cluster."""
        return {node: min(cluster) for cluster in self.partition() for node in cluster}

    def _times(self) -> dict[Pair, list[int]]:
        """Return when each pair was seen together; every event links its strongest identifier to each of the others.

        Once a trusted source has seen a pair, when others saw it does not count.
        """
        times: dict[Pair, list[int]] = {}
        for event in sorted(self.events, key=lambda event: not event.trusted):
            pairs = {(a, b) for a, b in combinations(sorted(set(event.nodes)), 2) if a == min(event.nodes)}
            for pair in pairs | self._implied_pairs(event):
                if event.trusted:
                    self.trusted.add(pair)
                if event.trusted or pair not in self.trusted:
                    times.setdefault(pair, []).append(event.time_ms)
        return times

    def _implied_pairs(self, event: Event) -> set[Pair]:
        """Return what an event does not name itself: the earlier id of an alias, and the phone of a caller number."""
        pairs = set()
        for namespace, value in event.identifiers:
            if namespace == "caller_number":
                pairs.add((node(SECRET, ("phone", value)), node(SECRET, (namespace, value))))
        previous_id = event.properties.get("previousId")
        if event.type == "alias" and previous_id is not None and ("user_id", previous_id) not in event.identifiers:
            for user_id in (value for namespace, value in event.identifiers if namespace == "user_id"):
                for namespace in ("user_id", "anonymous_id"):
                    if namespace == "anonymous_id" or ("anonymous_id", previous_id) not in event.identifiers:
                        a, b = sorted((node(SECRET, ("user_id", user_id)), node(SECRET, (namespace, previous_id))))
                        pairs.add((a, b))
        return pairs

    def _is_same_number(self, pair: Pair) -> bool:
        values = [value for event in self.events for namespace, value in event.identifiers if namespace == "caller_number"]
        return any(pair == (node(SECRET, ("phone", value)), node(SECRET, ("caller_number", value))) for value in values)

    def _nodes(self, times: Mapping[Pair, object]) -> set[str]:
        decided = {node for decision in self.decisions for _, a, b in decision.pairs for node in (a, b)}
        return {node for event in self.events for node in event.nodes} | decided | {node for pair in times for node in pair}

    def _priority(self, pair: Pair, times: Mapping[Pair, list[int]]) -> tuple[bool, bool, int, int, Pair]:
        first_ms, last_ms = min(times[pair]), max(times[pair])
        age = (first_ms, 0) if self.rules.prefer == "first" else (-(last_ms // DAY_MS), first_ms)
        return pair not in self.trusted, self._is_same_number(pair), *age, pair

    def _is_dead(self, pair: Pair, times: Mapping[Pair, object]) -> bool:
        if self._is_same_number(pair) and not self.rules.same_number:
            return True
        if self._is_decided("cut", pair) or any(self._names_nobody(node, times) for node in pair):
            return True
        return pair not in self.trusted and any(sum(node in other for other in times) > self.crowded_at for node in pair)

    def _names_nobody(self, name: str, times: Mapping[Pair, object]) -> bool:
        namespace = namespace_of(name)
        pairs = {pair for pair in times if name in pair}
        pairs = pairs & self.trusted or pairs
        neighbours = {a if b == name else b for a, b in pairs}
        limit = self.rules.max_neighbours.get(namespace)
        strong = [
            other
            for other in neighbours
            if int(other[0], 16) <= int(name[0], 16) and not (namespace == "caller_number" and self._is_same_number((other, name)))
        ]
        generic = limit is not None and len(strong) > limit
        return generic or len(neighbours) > self.crowded_at or self.rules.is_blocked(name, self.values.get(name))

    def _is_decided(self, kind: str, pair: Pair) -> bool:
        decisions = [(d.at_ms, d.operation, d.on) for d in self.decisions if (kind, *pair) in d.pairs]
        return bool(decisions) and max(decisions)[2]

    def _may_join(self, cluster: frozenset[str]) -> bool:
        if len(cluster) > self.rules.max_members:
            return False
        for namespace, limit in self.rules.max_per_profile.items():
            if limit is not None and sum(namespace_of(node) == namespace for node in cluster) > limit:
                return False
        return not any(self._is_decided("apart", pair) for pair in combinations(sorted(cluster), 2))
