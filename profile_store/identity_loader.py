"""Loads from the store the evidence that decides about some nodes: their closure (see `domain.identity.closure`)."""

from collections.abc import Collection, Iterable

from domain.identity.closure import Closure
from domain.identity.model import Decisions, Edges
from domain.identity.rules import CompiledIdentityRules
from domain.profiles.fragment import decode_fragment
from profile_store.port import ProfileStore
from schemas.identifiers import Identifier


class ClusterLoader:
    """Loads closures: first the profiles of the given nodes, then what these reach.

    A step costs at most three round trips, whatever its number of nodes, and one more when the rules have patterns.
    """

    def __init__(self, store: ProfileStore, rules: CompiledIdentityRules) -> None:
        self._store = store
        self._rules = rules

    async def load(self, seeds: Iterable[str], edges: Edges, decisions: Decisions) -> Closure:
        """Return the finished closure of the nodes `seeds`, given the new edges and decisions of a slice. Raises Transient."""
        closure = Closure.start(edges, decisions, self._rules)
        await self._enter(set(seeds), closure)
        while reach := closure.reach():
            await self._read(reach.unread, closure)
            await self._enter(reach.entering, closure)
        return closure

    async def load_with_surroundings(self, seeds: Iterable[str]) -> Closure:
        """Return the closure of the nodes with the whole profiles that live edges lead to, for explanations. Raises Transient."""
        closure = await self.load(seeds, {}, {})
        while unread := closure.surroundings():
            await self._read(unread, closure)
        return closure

    async def _enter(self, nodes: Collection[str], closure: Closure) -> None:
        """Let the whole profiles of these nodes take part: their members are resolved."""
        await self._add_profiles(nodes, closure)
        members = {other for node in nodes for other in closure.members[closure.labels[node].profile_id].nodes}
        closure.nodes |= members.union(nodes)
        await self._fetch(closure.nodes - closure.read_nodes, closure)

    async def _read(self, nodes: Collection[str], closure: Closure) -> None:
        """Read nodes that stay outside: their edges, and which profiles they belong to."""
        await self._add_profiles(nodes, closure)
        await self._fetch(nodes, closure)

    async def _add_profiles(self, nodes: Collection[str], closure: Closure) -> None:
        """Add the labels of these nodes, and the member lists of their profiles."""
        closure.labels |= await self._store.labels(sorted(node for node in nodes if node not in closure.labels))
        missing = {closure.labels[node].profile_id for node in nodes} - closure.members.keys()
        for profile_id, members in (await self._store.members(sorted(missing))).items():
            closure.add_profile(profile_id, members)

    async def _fetch(self, nodes: Collection[str], closure: Closure) -> None:
        """Add the stored neighbours of nodes that have not been read yet, and find out which of these nodes the rules block."""
        neighbours_by_node = await self._store.neighbours(sorted(nodes))
        for node, neighbours in neighbours_by_node.items():
            closure.add_stored(node, neighbours)
        await self._find_blocked(nodes, closure)

    async def _find_blocked(self, nodes: Collection[str], closure: Closure) -> None:
        """Add to `closure.blocked` those of the nodes that the rules block.

        A pattern of the rules needs the value behind a node. A node is a hash, so the value is read from the fragments of the
        events that the node was seen in.
        """
        closure.blocked |= self._rules.blocked_among(nodes)
        nodes_to_check = {node for node in nodes if node not in closure.blocked and self._rules.has_patterns(node)}
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
