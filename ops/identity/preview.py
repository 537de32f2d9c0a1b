"""What other identity rules would make of all that happened: which profiles would merge, which would split."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from ops.identity.references import shape
from domain.identity.evidence import Decisions
from domain.identity.clusters import (Evidence, Liveness, members_of, resolve)
from profile_store.port import Decision, Edge
from warehouse import named_queries as reads
from warehouse.client import Warehouse
from schemas.identifiers import Identifier
from domain.identity.rules import Rules

Kind = Literal["merge", "split", "regroup"]
Cluster = tuple[str, ...]
MAX_SHOWN_MEMBERS: Final = 50
"""More identifiers of one profile than this are counted, not listed."""


@dataclass(frozen=True, slots=True)
class Shift:
    """Profiles that would become other profiles of the same identifiers."""

    before: tuple[Cluster, ...]
    after: tuple[Cluster, ...]

    @property
    def kind(self) -> Kind:
        """What happens to them."""
        if len(self.after) == 1:
            return "merge"
        return "split" if len(self.before) == 1 else "regroup"

    @property
    def size(self) -> int:
        """How many identifiers it is about."""
        return sum(map(len, self.before))


@dataclass(frozen=True, slots=True)
class Side:
    """What rules make of the evidence. `profiles` counts those of several identifiers; the others are about values that link
    nobody, by reason."""

    profiles: int
    largest: int
    linking_nobody: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Preview:
    """Both sides, and what changes between them, the largest first."""

    now: Side
    then: Side
    shifts: tuple[Shift, ...]

    def count(self, kind: Kind) -> int:
        """How many shifts of a kind there are."""
        return sum(shift.kind == kind for shift in self.shifts)


def preview(now: tuple[Evidence, Rules], then: tuple[Evidence, Rules]) -> Preview:
    """Pure. Both are the same evidence, with what each of the rules blocks."""
    before, after = (resolve(*side).labels for side in (now, then))
    return Preview(_side(*now, before), _side(*then, after), shifts(before, after))


def _side(evidence: Evidence, rules: Rules, labels: Mapping[str, str]) -> Side:
    sizes = [size for size in Counter(labels.values()).values() if size > 1]
    liveness = Liveness(evidence, rules)
    reasons = Counter(dead.reason for dead in map(liveness.of_node, labels) if dead is not None)
    return Side(len(sizes), max(sizes, default=1 if labels else 0), dict(sorted(reasons.items())))


def shifts(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[Shift, ...]:
    """What becomes what, in the smallest groups that share no identifier; both name the same nodes."""
    old, new = members_of(before), members_of(after)
    found, done = [], set[str]()
    for node in sorted(before):
        if node in done or old[before[node]] == new[after[node]]:
            continue
        mine, theirs = {before[node]}, set[str]()
        while (grown := {after[other] for name in mine for other in old[name]}) != theirs:
            theirs = grown
            mine = {before[other] for name in theirs for other in new[name]}
        done |= {n for name in mine for n in old[name]}
        found.append(Shift(tuple(old[name] for name in sorted(mine)), tuple(new[name] for name in sorted(theirs))))
    return tuple(sorted(found, key=lambda shift: (-shift.size, shift.before)))


async def load(warehouse: Warehouse, rules: Iterable[Rules]) -> list[Evidence]:
    """All evidence and decisions that ClickHouse remembers, once for each of these rules with what they block."""
    edges: dict[tuple[str, str], Edge] = {}
    async for block in reads.stream(warehouse, "evidence"):
        edges |= {(a, b): Edge(*rest) for a, b, *rest in block}
    decided: Decisions = {}
    async for block in reads.stream(warehouse, "decisions"):
        decided |= {(kind, a, b): Decision(bool(on), at_ms, operation) for kind, a, b, on, at_ms, operation in block}
    nodes = {node for key in edges for node in key}
    every = tuple(rules)
    patterned = {node for node in nodes if any(one.has_patterns(node) for one in every)}
    values = await names_of(warehouse, patterned) if patterned else {}
    return [Evidence(edges, decided, frozenset(n for n in nodes if one.blocks(n, values.get(n)))) for one in every]


async def names_of(warehouse: Warehouse, wanted: set[str]) -> dict[str, Identifier]:
    """What these nodes stand for."""
    found: dict[str, Identifier] = {}
    async for block in reads.stream(warehouse, "identifiers"):
        found |= {node: (namespace, value) for node, namespace, value in block if node in wanted}
    return found


def shape_preview(made: Preview, limit: int, names: Mapping[str, Identifier]) -> dict[str, Any]:
    """The answer as JSON."""
    return {
        "merges": made.count("merge"),
        "splits": made.count("split"),
        "regroups": made.count("regroup"),
        "now": _shape_side(made.now),
        "then": _shape_side(made.then),
        "changes": [
            {
                "kind": shift.kind,
                "from": [_shape_cluster(cluster, names) for cluster in shift.before],
                "to": [_shape_cluster(cluster, names) for cluster in shift.after],
            }
            for shift in made.shifts[:limit]
        ],
    }


def _shape_side(side: Side) -> dict[str, Any]:
    reasons = {name: side.linking_nobody.get(name, 0) for name in ("blocked", "generic", "crowded")}
    return {"profiles": side.profiles, "largest": side.largest, **reasons}


def _shape_cluster(cluster: Cluster, names: Mapping[str, Identifier]) -> dict[str, Any]:
    return {
        "profile_id": cluster[0],
        "size": len(cluster),
        "identifiers": [shape(node, names) for node in cluster[:MAX_SHOWN_MEMBERS]],
    }


def shown(made: Preview, limit: int) -> set[str]:
    """The nodes that the answer names."""
    return {
        node for shift in made.shifts[:limit] for cluster in (*shift.before, *shift.after) for node in cluster[:MAX_SHOWN_MEMBERS]
    }
