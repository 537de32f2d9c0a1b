"""What the link agent must know to decide about some nodes: their clusters as they are, and as the evidence now makes them."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from domain.profiles import fragment as model
from domain.identity.evidence import Decisions, Edges
from domain.identity.clusters import Evidence, Liveness, pair
from profile_store.port import Label, Members, ProfileStore, Ties
from schemas.identifiers import Identifier
from domain.identity.rules import Rules


@dataclass(slots=True)
class Closure:
    """`nodes` are closed under live edges and under the clusters that they have been in. Their evidence, with what is new joined
    into it, their labels, and the member lists of their profiles are given; `known` is the evidence without what is new."""

    evidence: Evidence
    liveness: Liveness
    nodes: set[str] = field(default_factory=set)
    known: Edges = field(default_factory=dict)
    known_decisions: Decisions = field(default_factory=dict)
    labels: dict[str, Label] = field(default_factory=dict)
    members: dict[str, Members] = field(default_factory=dict)


class Explorer:
    """Loads a closure, level by level: three round trips for each, whatever the width."""

    def __init__(self, store: ProfileStore, rules: Rules) -> None:
        self._store, self._rules = store, rules
        self._fetched: set[str] = set()
        self._blocked: set[str] = set()
        self._crowded: set[str] = set()
        self._neighbours: dict[str, set[str]] = {}

    async def explore(self, seeds: Iterable[str], edges: Edges, decisions: Decisions) -> Closure:
        """The closure of the seeds; `edges` and `decisions` are what is new. Raises Transient."""
        evidence = Evidence(dict(edges), dict(decisions), self._blocked, self._crowded)
        found = Closure(evidence, Liveness(evidence, self._rules))
        for a, b in edges:
            self._meet(a, b)
        level = set(seeds)
        while level:
            found.nodes |= level
            await self._fetch(level, found)
            # Behind a node that names nobody there is nothing to be found, however many its neighbours are.
            alive = [node for node in level if found.liveness.of_node(node) is None]
            await self._fetch({other for node in alive for other in self._neighbours.get(node, ())}, found)
            level = (self._live(alive, found.liveness) | await self._mates(level, found)) - found.nodes
        return found

    def _meet(self, a: str, b: str) -> None:
        self._neighbours.setdefault(a, set()).add(b)
        self._neighbours.setdefault(b, set()).add(a)

    def _live(self, nodes: Iterable[str], liveness: Liveness) -> set[str]:
        """The other ends of the live edges of these nodes."""
        pairs = ((node, other) for node in nodes for other in self._neighbours.get(node, ()))
        return {other for node, other in pairs if liveness.of_edge(*pair(node, other)) is None}

    async def _mates(self, level: set[str], found: Closure) -> set[str]:
        """All nodes of the clusters that these nodes have been in."""
        labels = await self._store.labels(sorted(level))
        found.labels |= labels
        wanted = {label.profile_id for label in labels.values()} - found.members.keys()
        members = await self._store.members(sorted(wanted))
        found.members |= members
        return {node for entry in members.values() for node in entry.nodes}

    async def _fetch(self, nodes: set[str], found: Closure) -> None:
        """The ties of nodes that have not been fetched yet, and whether the rules block them."""
        wanted = nodes - self._fetched
        self._fetched |= wanted
        ties = await self._store.ties(sorted(wanted))
        for node, held in ties.items():
            self._take(node, held, found)
        await self._judge(wanted, found)

    def _take(self, node: str, ties: Ties, found: Closure) -> None:
        if ties.crowded:
            self._crowded.add(node)
        for other, edge in ties.edges.items():
            key = pair(node, other)
            self._meet(node, other)
            if key in found.known:
                continue
            found.known[key] = edge
            new = found.evidence.edges.get(key)
            if new is None:
                found.liveness.count(*key)
            found.evidence.edges[key] = edge if new is None else new.join(edge)
        for (kind, other), decision in ties.decisions.items():
            decided = (kind, *pair(node, other))
            if decided not in found.known_decisions:
                found.known_decisions[decided] = decision
                said = found.evidence.decisions.get(decided)
                found.evidence.decisions[decided] = decision if said is None else said.join(decision)

    async def _judge(self, nodes: set[str], found: Closure) -> None:
        """Note which nodes the rules block. Their values are in the fragments of the events that they were seen in."""
        self._blocked |= nodes & self._rules.blocked
        asked = {node for node in nodes - self._blocked if self._rules.has_patterns(node)}
        if not asked:
            return
        owners = {node: {node} | self._owners(node, found) for node in asked}
        documents = await self._store.documents("fragment", sorted(set().union(*owners.values())))
        for node in asked:
            if self._rules.blocks(node, _value(node, (documents[owner].data for owner in sorted(owners[node])))):
                self._blocked.add(node)

    def _owners(self, node: str, found: Closure) -> set[str]:
        edges = (found.evidence.edges[pair(node, other)] for other in self._neighbours.get(node, ()))
        return {edge.owner for edge in edges if edge.owner}


def _value(node: str, fragments: Iterable[bytes | None]) -> Identifier | None:
    """The namespace and value that a node stands for, from the first fragment that knows it."""
    for data in fragments:
        if data is not None and (identifier := model.decode(data).identifiers.get(node)) is not None:
            return identifier
    return None
