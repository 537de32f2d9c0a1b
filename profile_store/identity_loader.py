"""What the link agent must know to decide about some nodes: their clusters as they are, and as the evidence now makes them."""

from collections.abc import Iterable

from domain.identity.closure import Closure
from domain.identity.clusters import Evidence, Liveness
from domain.identity.model import Decisions, Edges, Neighbours, ordered_pair
from domain.identity.rules import CompiledIdentityRules
from domain.profiles.fragment import decode_fragment
from profile_store.port import ProfileStore
from schemas.identifiers import Identifier


class ClusterLoader:
    """Loads a closure, level by level: three round trips for each, whatever the width."""

    def __init__(self, store: ProfileStore, rules: CompiledIdentityRules) -> None:
        self._store, self._rules = store, rules
        self._fetched: set[str] = set()
        self._blocked: set[str] = set()
        self._crowded: set[str] = set()
        self._neighbours: dict[str, set[str]] = {}

    async def load(self, seeds: Iterable[str], edges: Edges, decisions: Decisions) -> Closure:
        """The closure of the seeds; `edges` and `decisions` are what is new. Raises Transient."""
        evidence = Evidence(dict(edges), dict(decisions), self._blocked, self._crowded)
        closure = Closure(evidence, Liveness(evidence, self._rules))
        for a, b in edges:
            self._add_neighbour(a, b)
        level = set(seeds)
        while level:
            closure.nodes |= level
            await self._fetch(level, closure)
            # Behind a node that names nobody there is nothing to be found, however many its neighbours are.
            alive = [node for node in level if closure.liveness.dead_node(node) is None]
            await self._fetch({other for node in alive for other in self._neighbours.get(node, ())}, closure)
            level = (self._live_neighbours(alive, closure.liveness) | await self._comembers(level, closure)) - closure.nodes
        return closure

    def _add_neighbour(self, a: str, b: str) -> None:
        self._neighbours.setdefault(a, set()).add(b)
        self._neighbours.setdefault(b, set()).add(a)

    def _live_neighbours(self, nodes: Iterable[str], liveness: Liveness) -> set[str]:
        """The other ends of the live edges of these nodes."""
        pairs = ((node, other) for node in nodes for other in self._neighbours.get(node, ()))
        return {other for node, other in pairs if liveness.dead_edge(*ordered_pair(node, other)) is None}

    async def _comembers(self, level: set[str], closure: Closure) -> set[str]:
        """All nodes of the clusters that these nodes have been in."""
        labels = await self._store.labels(sorted(level))
        closure.labels |= labels
        missing_ids = {label.profile_id for label in labels.values()} - closure.members.keys()
        members = await self._store.members(sorted(missing_ids))
        closure.members |= members
        return {node for entry in members.values() for node in entry.nodes}

    async def _fetch(self, nodes: set[str], closure: Closure) -> None:
        """The ties of nodes that have not been fetched yet, and whether the rules block them."""
        missing = nodes - self._fetched
        self._fetched |= missing
        neighbours_by_node = await self._store.neighbours(sorted(missing))
        for node, neighbours in neighbours_by_node.items():
            self._add_evidence(node, neighbours, closure)
        await self._find_blocked(missing, closure)

    def _add_evidence(self, node: str, neighbours: Neighbours, closure: Closure) -> None:
        if neighbours.crowded:
            self._crowded.add(node)
        for other, edge in neighbours.edges.items():
            edge_key = ordered_pair(node, other)
            self._add_neighbour(node, other)
            if edge_key in closure.stored_edges:
                continue
            closure.stored_edges[edge_key] = edge
            new_edge = closure.evidence.edges.get(edge_key)
            if new_edge is None:
                closure.liveness.add_edge(*edge_key)
            closure.evidence.edges[edge_key] = edge if new_edge is None else new_edge.join(edge)
        for (kind, other), decision in neighbours.decisions.items():
            decision_key = (kind, *ordered_pair(node, other))
            if decision_key not in closure.stored_decisions:
                closure.stored_decisions[decision_key] = decision
                new_decision = closure.evidence.decisions.get(decision_key)
                closure.evidence.decisions[decision_key] = decision if new_decision is None else new_decision.join(decision)

    async def _find_blocked(self, nodes: set[str], closure: Closure) -> None:
        """Note which nodes the rules block. Their values are in the fragments of the events that they were seen in."""
        self._blocked |= nodes & self._rules.blocked
        nodes_to_check = {node for node in nodes - self._blocked if self._rules.has_patterns(node)}
        if not nodes_to_check:
            return
        owners = {node: {node} | self._owners(node, closure) for node in nodes_to_check}
        documents = await self._store.documents("fragment", sorted(set().union(*owners.values())))
        for node in nodes_to_check:
            if self._rules.is_blocked(node, _identifier_of(node, (documents[owner].data for owner in sorted(owners[node])))):
                self._blocked.add(node)

    def _owners(self, node: str, closure: Closure) -> set[str]:
        edges = (closure.evidence.edges[ordered_pair(node, other)] for other in self._neighbours.get(node, ()))
        return {edge.owner for edge in edges if edge.owner}


def _identifier_of(node: str, fragments: Iterable[bytes | None]) -> Identifier | None:
    """The namespace and value that a node stands for, from the first fragment that knows it."""
    for data in fragments:
        if data is not None and (identifier := decode_fragment(data).identifiers.get(node)) is not None:
            return identifier
    return None
