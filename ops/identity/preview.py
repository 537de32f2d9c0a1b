"""What other identity rules would make of all that happened: which profiles would merge, which would split."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from domain.identity.clusters import Evidence, Liveness, members_of, resolve
from domain.identity.model import Decision, Decisions, Edge
from domain.identity.rules import CompiledIdentityRules
from ops.identity.references import node_to_json
from schemas.identifiers import Identifier
from warehouse import named_queries
from warehouse.client import Warehouse

ClusterChangeKind = Literal["merge", "split", "regroup"]
Cluster = tuple[str, ...]
MAX_SHOWN_MEMBERS: Final = 50
"""More identifiers of one profile than this are counted, not listed."""


@dataclass(frozen=True, slots=True)
class ClusterChange:
    """Profiles that would become other profiles of the same identifiers."""

    before: tuple[Cluster, ...]
    after: tuple[Cluster, ...]

    @property
    def kind(self) -> ClusterChangeKind:
        """What happens to them."""
        if len(self.after) == 1:
            return "merge"
        return "split" if len(self.before) == 1 else "regroup"

    @property
    def size(self) -> int:
        """How many identifiers it is about."""
        return sum(map(len, self.before))


@dataclass(frozen=True, slots=True)
class ResolutionSummary:
    """What rules make of the evidence. `profiles` counts those of several identifiers; the others are about values that link
    nobody, by reason."""

    profiles: int
    largest: int
    linking_nobody: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class IdentityPreview:
    """Both sides, and what changes between them, the largest first."""

    current: ResolutionSummary
    proposed: ResolutionSummary
    changes: tuple[ClusterChange, ...]

    def count(self, kind: ClusterChangeKind) -> int:
        """How many shifts of a kind there are."""
        return sum(change.kind == kind for change in self.changes)


def compare_rules(
    current: tuple[Evidence, CompiledIdentityRules], proposed: tuple[Evidence, CompiledIdentityRules]
) -> IdentityPreview:
    """Pure. Both are the same evidence, with what each of the rules blocks."""
    before, after = (resolve(*side).labels for side in (current, proposed))
    return IdentityPreview(_summarise(*current, before), _summarise(*proposed, after), cluster_changes(before, after))


def _summarise(evidence: Evidence, rules: CompiledIdentityRules, labels: Mapping[str, str]) -> ResolutionSummary:
    sizes = [size for size in Counter(labels.values()).values() if size > 1]
    liveness = Liveness(evidence, rules)
    reasons = Counter(refusal.reason for refusal in map(liveness.dead_node, labels) if refusal is not None)
    return ResolutionSummary(len(sizes), max(sizes, default=1 if labels else 0), dict(sorted(reasons.items())))


def cluster_changes(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[ClusterChange, ...]:
    """What becomes what, in the smallest groups that share no identifier; both name the same nodes."""
    members_before, members_after = members_of(before), members_of(after)
    changes, visited = [], set[str]()
    for node in sorted(before):
        if node in visited or members_before[before[node]] == members_after[after[node]]:
            continue
        ids_before, ids_after = {before[node]}, set[str]()
        while (reached_ids := {after[other] for name in ids_before for other in members_before[name]}) != ids_after:
            ids_after = reached_ids
            ids_before = {before[other] for name in ids_after for other in members_after[name]}
        visited |= {n for name in ids_before for n in members_before[name]}
        changes.append(
            ClusterChange(
                tuple(members_before[name] for name in sorted(ids_before)), tuple(members_after[name] for name in sorted(ids_after))
            )
        )
    return tuple(sorted(changes, key=lambda change: (-change.size, change.before)))


async def load_evidence(warehouse: Warehouse, rules: Iterable[CompiledIdentityRules]) -> list[Evidence]:
    """All evidence and decisions that ClickHouse remembers, once for each of these rules with what they block."""
    edges: dict[tuple[str, str], Edge] = {}
    async for block in named_queries.stream_rows(warehouse, "evidence"):
        edges |= {(a, b): Edge(*rest) for a, b, *rest in block}
    decisions: Decisions = {}
    async for block in named_queries.stream_rows(warehouse, "decisions"):
        decisions |= {(kind, a, b): Decision(bool(on), at_ms, operation) for kind, a, b, on, at_ms, operation in block}
    nodes = {node for key in edges for node in key}
    all_rules = tuple(rules)
    patterned = {node for node in nodes if any(candidate.has_patterns(node) for candidate in all_rules)}
    identifiers = await read_identifiers_of(warehouse, patterned) if patterned else {}
    return [Evidence(edges, decisions, frozenset(n for n in nodes if one.is_blocked(n, identifiers.get(n)))) for one in all_rules]


async def read_identifiers_of(warehouse: Warehouse, nodes: set[str]) -> dict[str, Identifier]:
    """What these nodes stand for."""
    identifiers: dict[str, Identifier] = {}
    async for block in named_queries.stream_rows(warehouse, "identifiers"):
        identifiers |= {node: (namespace, value) for node, namespace, value in block if node in nodes}
    return identifiers


def preview_to_json(preview: IdentityPreview, limit: int, identifiers: Mapping[str, Identifier]) -> dict[str, Any]:
    """The answer as JSON."""
    return {
        "merges": preview.count("merge"),
        "splits": preview.count("split"),
        "regroups": preview.count("regroup"),
        "now": _summary_to_json(preview.current),
        "then": _summary_to_json(preview.proposed),
        "changes": [
            {
                "kind": change.kind,
                "from": [_cluster_to_json(cluster, identifiers) for cluster in change.before],
                "to": [_cluster_to_json(cluster, identifiers) for cluster in change.after],
            }
            for change in preview.changes[:limit]
        ],
    }


def _summary_to_json(summary: ResolutionSummary) -> dict[str, Any]:
    reasons = {name: summary.linking_nobody.get(name, 0) for name in ("blocked", "generic", "crowded")}
    return {"profiles": summary.profiles, "largest": summary.largest, **reasons}


def _cluster_to_json(cluster: Cluster, identifiers: Mapping[str, Identifier]) -> dict[str, Any]:
    return {
        "profile_id": cluster[0],
        "size": len(cluster),
        "identifiers": [node_to_json(node, identifiers) for node in cluster[:MAX_SHOWN_MEMBERS]],
    }


def shown_nodes(preview: IdentityPreview, limit: int) -> set[str]:
    """The nodes that the answer names."""
    return {
        node
        for change in preview.changes[:limit]
        for cluster in (*change.before, *change.after)
        for node in cluster[:MAX_SHOWN_MEMBERS]
    }
