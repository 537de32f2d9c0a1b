"""The preview of other identity rules: reading the evidence from ClickHouse, and the answer as JSON."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from domain.identity.clusters import Evidence
from domain.identity.model import Decision, Decisions, Edge
from domain.identity.rule_changes import Cluster, IdentityPreview, ResolutionSummary
from domain.identity.rules import CompiledIdentityRules
from ops.identity.references import node_to_json
from schemas.identifiers import Identifier
from warehouse import named_queries
from warehouse.client import Warehouse

MAX_SHOWN_MEMBERS: Final = 50
"""More identifiers of one profile than this are counted, not listed."""


async def load_evidence(warehouse: Warehouse, rules: Iterable[CompiledIdentityRules]) -> list[Evidence]:
    """Read all evidence and decisions, once for each set of rules with the nodes that these rules block. Raises Transient."""
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
    """Read the identifiers that these nodes stand for. Raises Transient."""
    identifiers: dict[str, Identifier] = {}
    async for block in named_queries.stream_rows(warehouse, "identifiers"):
        identifiers |= {node: (namespace, value) for node, namespace, value in block if node in nodes}
    return identifiers


def preview_to_json(preview: IdentityPreview, limit: int, identifiers: Mapping[str, Identifier]) -> dict[str, Any]:
    """Return the answer as JSON, with the first `limit` changes."""
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
    """Return the nodes that the answer names."""
    return {
        node
        for change in preview.changes[:limit]
        for cluster in (*change.before, *change.after)
        for node in cluster[:MAX_SHOWN_MEMBERS]
    }
