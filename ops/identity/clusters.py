"""What is known around some nodes: their clusters, the evidence, and what the rules make of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from domain.identity.explanation import Explainer, Why
from domain.identity.clusters import Evidence, Resolution, resolve
from profile_store.port import ProfileStore
from domain.identity.rules import Rules
from profile_store.identity_loader import Closure, Explorer

MAX_ROUNDS: Final = 4
MAX_NODES: Final = 2_000
"""How far evidence that joins nothing is followed to find out what keeps two apart."""


@dataclass(frozen=True, slots=True)
class Known:
    """One reading of the store, and the clusters that these rules make of it. `profiles` are the profiles that the store says."""

    rules: Rules
    closure: Closure
    resolution: Resolution

    @property
    def evidence(self) -> Evidence:
        """All evidence that was read."""
        return self.closure.evidence

    @property
    def explainer(self) -> Explainer:
        """Reads this resolution."""
        return Explainer(self.evidence, self.rules, self.resolution)

    def label(self, node: str) -> str:
        """The profile that the store has a node in."""
        return self.closure.labels[node].profile_id if node in self.closure.labels else node

    def members(self, node: str) -> set[str]:
        """All nodes that evidence and rules put into one profile with a node."""
        profile_id = self.resolution.labels[node]
        return {other for other, label in self.resolution.labels.items() if label == profile_id}

    def settled(self, nodes: Iterable[str]) -> bool:
        """Whether the store's labels of these nodes are what evidence and rules make now."""
        return all(self.label(node) == self.resolution.labels.get(node, node) for node in nodes)

    def seen(self, node: str) -> bool:
        """Whether anything at all is known of a node's company: evidence, a decision, a profile of several."""
        closure = self.closure
        if any(node in key for key in self.evidence.edges) or any(node in key for key in self.evidence.decisions):
            return True
        return node in closure.labels and closure.labels[node].version > 0


async def know(store: ProfileStore, rules: Rules, nodes: Iterable[str]) -> Known:
    """The whole clusters of some nodes. Raises Transient."""
    closure = await Explorer(store, rules).explore(nodes, {}, {})
    return Known(rules, closure, resolve(closure.evidence, rules, closure.nodes))


async def know_between(store: ProfileStore, rules: Rules, a: str, b: str) -> tuple[Known, Why]:
    """The clusters of two nodes, and of what lies between them: evidence that joins nothing is followed within bounds."""
    seeds = {a, b}
    for _ in range(MAX_ROUNDS):
        known = await know(store, rules, seeds)
        why = known.explainer.why(a, b)
        beyond = _beyond(known)
        if why.verdict != "never_together" or not beyond or len(known.closure.nodes) + len(beyond) > MAX_NODES:
            break
        seeds |= beyond
    return known, why


def _beyond(known: Known) -> set[str]:
    inside = known.closure.nodes
    return {node for key in known.evidence.edges if not inside.isdisjoint(key) for node in key} - inside
