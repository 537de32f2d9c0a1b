"""The clusters around some nodes: the evidence that was read, and the profiles that the rules make of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from domain.identity.closure import Closure
from domain.identity.clusters import Evidence, Resolution
from domain.identity.explanation import IdentityExplainer, PairExplanation
from domain.identity.rules import CompiledIdentityRules
from profile_store.identity_loader import ClusterLoader
from profile_store.port import ProfileStore

MAX_ROUNDS: Final = 16
MAX_NODES: Final = 2_000
"""How far evidence that joins nothing is followed to find out what keeps two apart."""


@dataclass(frozen=True, slots=True)
class ResolvedClusters:
    """One reading of the store, and the clusters that the rules make of it; the store's own labels may be older.

    `evidence` is what the resolution decided about: the edges of the closure's nodes, and those within the profiles around it.
    """

    rules: CompiledIdentityRules
    closure: Closure
    evidence: Evidence
    resolution: Resolution

    @property
    def explainer(self) -> IdentityExplainer:
        """An explainer of this resolution."""
        return IdentityExplainer(self.evidence, self.rules, self.resolution)

    def stored_profile_id(self, node: str) -> str:
        """Return the profile that the store has a node in."""
        return self.closure.labels[node].profile_id if node in self.closure.labels else node

    def members(self, node: str) -> set[str]:
        """Return the nodes that evidence and rules put into one profile with a node, the node included."""
        profile_id = self.resolution.labels[node]
        return {other for other, label in self.resolution.labels.items() if label == profile_id}

    def is_settled(self, nodes: Iterable[str]) -> bool:
        """Whether the store's labels of these nodes are what evidence and rules make now."""
        return all(self.stored_profile_id(node) == self.resolution.labels.get(node, node) for node in nodes)

    def has_evidence(self, node: str) -> bool:
        """Return whether the store has evidence or a decision about a node, or a profile of several nodes with it."""
        closure = self.closure
        if any(node in key for key in self.evidence.edges) or any(node in key for key in self.evidence.decisions):
            return True
        return node in closure.labels and closure.labels[node].version > 0


async def load_clusters(store: ProfileStore, rules: CompiledIdentityRules, nodes: Iterable[str]) -> ResolvedClusters:
    """Load the whole clusters of some nodes, and those around them, which explain what keeps them apart. Raises Transient."""
    closure = await ClusterLoader(store, rules).load_with_surroundings(nodes)
    return ResolvedClusters(rules, closure, *closure.explain())


async def load_clusters_between(
    store: ProfileStore, rules: CompiledIdentityRules, a: str, b: str
) -> tuple[ResolvedClusters, PairExplanation]:
    """Load the clusters of two nodes, and what lies between them.

    Evidence that joins nothing is followed too, within MAX_ROUNDS and MAX_NODES, because it explains what keeps the two
    apart. Raises Transient.
    """
    start_nodes = {a, b}
    for _ in range(MAX_ROUNDS):
        clusters = await load_clusters(store, rules, start_nodes)
        why = clusters.explainer.explain_pair(a, b)
        unexplored = _unexplored_nodes(clusters)
        if why.relation != "never_together" or not unexplored or len(clusters.closure.nodes) + len(unexplored) > MAX_NODES:
            break
        start_nodes |= unexplored
    return clusters, why


def _unexplored_nodes(clusters: ResolvedClusters) -> set[str]:
    explored = clusters.closure.nodes
    return {node for key in clusters.evidence.edges if not explored.isdisjoint(key) for node in key} - explored
