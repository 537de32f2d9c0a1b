"""Loads from the store the evidence that decides about some nodes: their closure (see `domain.identity.closure`)."""

from collections.abc import Iterable

from domain.identity.closure import Closure
from domain.identity.model import Decisions, Edges
from domain.identity.rules import CompiledIdentityRules
from domain.profiles.fragment import decode_fragment
from profile_store.port import ProfileStore
from schemas.identifiers import Identifier


class ClusterLoader:
    """Loads one closure, level by level: first the given nodes, then what these lead to, and so on.

    A level costs four round trips, whatever its number of nodes, and one more when the rules have patterns. Use a new loader for
    each closure.
    """

    def __init__(self, store: ProfileStore, rules: CompiledIdentityRules) -> None:
        self._store = store
        self._rules = rules
        self._fetched: set[str] = set()

    async def load(self, seeds: Iterable[str], edges: Edges, decisions: Decisions) -> Closure:
        """Return the closure of the nodes `seeds`, given the new edges and decisions of a slice. Raises Transient."""
        closure = Closure.start(edges, decisions, self._rules)
        level = set(seeds)
        while level:
            closure.nodes |= level
            await self._fetch(level, closure)
            # The edges of a dead node lead nowhere, so its neighbours (there may be thousands) are not read.
            alive = [node for node in level if closure.liveness.dead_node(node) is None]
            # Whether an edge is live depends on both of its ends, so the neighbours are read before the edges are followed.
            await self._fetch(closure.neighbours_of(alive), closure)
            level = (closure.live_neighbours(alive) | await self._comembers(level, closure)) - closure.nodes
        return closure

    async def _comembers(self, level: set[str], closure: Closure) -> set[str]:
        """Return all members of the profiles that these nodes belong to; adds their labels and member lists to the closure."""
        labels = await self._store.labels(sorted(level))
        closure.labels |= labels
        missing_ids = {label.profile_id for label in labels.values()} - closure.members.keys()
        members = await self._store.members(sorted(missing_ids))
        closure.members |= members
        return {node for entry in members.values() for node in entry.nodes}

    async def _fetch(self, nodes: set[str], closure: Closure) -> None:
        """Add the stored neighbours of nodes that have not been read yet, and find out which of these nodes the rules block."""
        missing = nodes - self._fetched
        self._fetched |= missing
        neighbours_by_node = await self._store.neighbours(sorted(missing))
        for node, neighbours in neighbours_by_node.items():
            closure.add_stored(node, neighbours)
        await self._find_blocked(missing, closure)

    async def _find_blocked(self, nodes: set[str], closure: Closure) -> None:
        """Add to `closure.blocked` those of the nodes that the rules block.

        A pattern of the rules needs the value behind a node. A node is a hash, so the value is read from the fragments of the
        events that the node was seen in.
        """
        closure.blocked |= self._rules.blocked_among(nodes)
        nodes_to_check = {node for node in nodes - closure.blocked if self._rules.has_patterns(node)}
        if not nodes_to_check:
            return
        owners = {node: {node} | closure.owners_of(node) for node in nodes_to_check}
        documents = await self._store.documents("fragment", sorted(set().union(*owners.values())))
        for node in nodes_to_check:
            if self._rules.is_blocked(node, _identifier_of(node, (documents[owner].data for owner in sorted(owners[node])))):
                closure.blocked.add(node)


def _identifier_of(node: str, fragments: Iterable[bytes | None]) -> Identifier | None:
    """Return the namespace and value behind a node, from the first fragment that knows it, or None."""
    for data in fragments:
        if data is not None and (identifier := decode_fragment(data).identifiers.get(node)) is not None:
            return identifier
    return None
