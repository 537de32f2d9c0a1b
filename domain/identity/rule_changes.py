"""Compares two sets of identity rules over the same evidence: which profiles would merge, and which would split. Pure.

An operator can look at this before new rules are applied, because rules are about all profiles at once.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from domain.identity.clusters import Evidence, Liveness, members_of, resolve
from domain.identity.rules import CompiledIdentityRules

ClusterChangeKind = Literal["merge", "split", "regroup"]
Cluster = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ClusterChange:
    """Profiles that would become other profiles. `before` and `after` divide the same identifiers in two ways."""

    before: tuple[Cluster, ...]
    after: tuple[Cluster, ...]

    @property
    def kind(self) -> ClusterChangeKind:
        """Whether the profiles merge into one, one splits into several, or several become several others."""
        if len(self.after) == 1:
            return "merge"
        return "split" if len(self.before) == 1 else "regroup"

    @property
    def size(self) -> int:
        """How many identifiers the profiles have together."""
        return sum(map(len, self.before))


@dataclass(frozen=True, slots=True)
class ResolutionSummary:
    """The outcome of one set of rules.

    `profiles` counts the profiles of several identifiers and `largest` is the number of identifiers of the largest one.
    `linking_nobody` counts by reason the identifiers that link nobody.
    """

    profiles: int
    largest: int
    linking_nobody: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class IdentityPreview:
    """Both outcomes, and the changes between them, the largest first."""

    current: ResolutionSummary
    proposed: ResolutionSummary
    changes: tuple[ClusterChange, ...]

    def count(self, kind: ClusterChangeKind) -> int:
        """Return how many changes of a kind there are."""
        return sum(change.kind == kind for change in self.changes)


def compare_rules(
    current: tuple[Evidence, CompiledIdentityRules], proposed: tuple[Evidence, CompiledIdentityRules]
) -> IdentityPreview:
    """Resolve the evidence by both sets of rules. The two evidences differ only in what their rules block."""
    before, after = (resolve(*side).labels for side in (current, proposed))
    return IdentityPreview(_summarise(*current, before), _summarise(*proposed, after), cluster_changes(before, after))


def _summarise(evidence: Evidence, rules: CompiledIdentityRules, labels: Mapping[str, str]) -> ResolutionSummary:
    sizes = [size for size in Counter(labels.values()).values() if size > 1]
    liveness = Liveness(evidence, rules)
    reasons = Counter(refusal.reason for refusal in map(liveness.dead_node, labels) if refusal is not None)
    return ResolutionSummary(len(sizes), max(sizes, default=1 if labels else 0), dict(sorted(reasons.items())))


def cluster_changes(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[ClusterChange, ...]:
    """Return the changes between two labellings of the same nodes, in the smallest groups that share no identifier.

    Example: A and B have been one profile with C, and D another; now A is alone and B, C, D are one. These are one change, of two
    profiles into two others, because each side reaches the other by the identifiers that they share.
    """
    members_before, members_after = members_of(before), members_of(after)
    changes, visited = [], set[str]()
    for node in sorted(before):
        # Member lists are compared and not ids: a profile may lose members and keep its id, which is its smallest member.
        if node in visited or members_before[before[node]] == members_after[after[node]]:
            continue
        ids_before, ids_after = {before[node]}, set[str]()
        # Go from side to side until neither grows: then no identifier of these profiles is in a profile outside of the change. The
        # sets only grow, and they are bounded by the profiles there are, so the loop ends.
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
