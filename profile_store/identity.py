"""Clusters as a pure, total function of the evidence. Order of arrival cannot matter: it is not an input.

Links are taken newest first (the day last seen, then the earlier first seen, then the pair), each unless it would put
two values of a unique namespace, or more than MAX_MEMBERS identifiers, into one cluster. The profile id is the smallest
member.
"""

from collections.abc import Mapping
from typing import Final

from profile_store.port import Edge
from schemas.identifiers import UNIQUE_NAMESPACES, namespace_of

MAX_MEMBERS: Final = 1000


def clusters(edges: Mapping[tuple[str, str], Edge]) -> dict[str, str]:
    """node → profile id, for every node that an edge names. Components do not influence each other."""
    parent: dict[str, str] = {}
    size: dict[str, int] = {}
    unique: dict[str, set[str]] = {}

    def root(node: str) -> str:
        if node not in parent:
            namespace = namespace_of(node)
            parent[node], size[node] = node, 1
            unique[node] = {namespace} if namespace in UNIQUE_NAMESPACES else set()
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for (a, b), _ in sorted(edges.items(), key=lambda item: (-item[1].last_day, item[1].first_ms, item[0])):
        low, high = sorted((root(a), root(b)))
        if low == high or unique[low] & unique[high] or size[low] + size[high] > MAX_MEMBERS:
            continue
        parent[high] = low
        size[low] += size[high]
        unique[low] |= unique[high]
    return {node: root(node) for node in list(parent)}


def members_of(labels: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """profile id → its nodes, sorted."""
    found: dict[str, list[str]] = {}
    for node, profile_id in labels.items():
        found.setdefault(profile_id, []).append(node)
    return {profile_id: tuple(sorted(nodes)) for profile_id, nodes in found.items()}
