"""What a change of definitions asks of history: registers to seed, segments to compute, profiles to evaluate again. Pure.

**Why.** A register counts only from the moment at which its definition is live. If a new segment simply went live, it would
be right for new events and wrong for everybody with a past. So before the switch the difference of the two plans is taken,
and history fills exactly that difference in: what both plans have in common is in the stores already and is left alone.

**Invariant.** After everything that `PlanChanges` names has been computed, the state is the one that the new plan would have
kept from the first event on. Too much in the difference costs time and is harmless. Too little is wrong for ever, so every
test below errs on the side of naming a register or a segment.

**Example.** The live plan has the segment `buyers` (did Order in 30 days, at least 1) and `vip` (in segment `buyers`, and
more). The new plan asks `buyers` for at least 2 in 90 days. The register of Order now needs 2 entries and 90 days instead of
1 and 30, so it is seeded from history. `buyers` has another version, so its members are computed anew; `vip` has not changed,
but it names `buyers`, so its members may be others too, and it comes after `buyers`.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from domain.segments.language import Node, leaves_of
from domain.segments.leaves.leaf import Dependency
from domain.segments.plan import SegmentPlan
from domain.segments.registers import Register


@dataclass(frozen=True, slots=True)
class PlanChanges:
    """The difference of two plans, as work to be done. It is false when there is nothing to compute.

    `registers` are the registers, by key, that hold less than the new plan needs. `segments` are the segments whose members
    may be others by the new plan, each one after the segments that it names. `group_segments` are those of them that read
    accounts or households. `computed` are the computed traits that are new, changed or removed. `recount_households` is true
    when the new plan asks households for counts that profiles have not contributed yet. `traits` and `labels` are the names that
    fragments keep from now on and may have dropped before.
    """

    registers: Mapping[str, Register] = field(default_factory=dict)
    segments: tuple[str, ...] = ()
    group_segments: frozenset[str] = frozenset()
    computed: frozenset[str] = frozenset()
    recount_households: bool = False
    traits: frozenset[str] = frozenset()
    labels: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.registers or self.segments or self.computed or self.traits)

    @property
    def event_labels(self) -> tuple[str, ...]:
        """The labels of the events that feed the registers to seed: no other events need to be read."""
        return tuple(sorted({register.event for register in self.registers.values()}))


def compare_plans(before: SegmentPlan, after: SegmentPlan) -> PlanChanges:
    """Return what has to be computed so that a state kept by `before` becomes the one that `after` would have kept."""
    computed = _changed_keys(
        {name: trait.version for name, trait in before.computed.items()},
        {name: trait.version for name, trait in after.computed.items()},
    )
    changed_lists = _changed_keys(before.lists, after.lists)
    changed_versions = {name for name, version in after.versions.items() if before.versions.get(name) != version}
    list_readers = {name for name, spec in after.segments.items() if _list_names(spec.where) & changed_lists}
    # A removed segment has no members from now on, so segments that name it may change although their text does not.
    removed_dependents = {
        name for removed in before.segments.keys() - after.segments.keys() for name in after.dependents.get(removed, ())
    }
    segments = with_dependents(
        after, changed_versions | list_readers | removed_dependents | after.segments_using_computed(computed)
    )
    group_readers = {name for name, spec in after.segments.items() if _reads_groups(spec.where)}
    contributed_limits = before.household_limits
    return PlanChanges(
        registers={key: register for key, register in after.registers.items() if _needs_seed(before.registers.get(key), register)},
        # The plan's own order has every segment after those that it names, and SQL of a segment reads the members of those.
        segments=tuple(name for name in after.segments if name in segments),
        group_segments=frozenset(with_dependents(after, group_readers) & segments),
        computed=frozenset(computed),
        # A profile contributes a count up to the limit that the plan asks for: a larger limit was never contributed.
        recount_households=any(contributed_limits.get(label, 0) < limit for label, limit in after.household_limits.items()),
        traits=after.retained.traits - before.retained.traits,
        labels=after.retained.labels - before.retained.labels,
    )


def with_dependents(plan: SegmentPlan, names: Collection[str]) -> set[str]:
    """Return these segments of the plan and all that name one of them, directly or through others."""
    reached, unvisited = set(names), list(names)
    while unvisited:
        dependents = plan.dependents.get(unvisited.pop(), set()) - reached
        reached |= dependents
        unvisited += dependents
    return reached & plan.segments.keys()


def _trait_versions(plan: SegmentPlan) -> dict[str, str]:
    return {name: trait.version for name, trait in plan.computed.items()}


def _changed_keys(before: Mapping[str, object], after: Mapping[str, object]) -> set[str]:
    return {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}


def _needs_seed(stored: Register | None, required: Register) -> bool:
    """Return whether the stored register may lack entries that the required one needs. A larger stored register never does."""
    if stored is None or stored.capacity < required.capacity:
        return True
    # A horizon of None means that entries are never dropped for their age.
    if stored.horizon_ms is None:
        return False
    return required.horizon_ms is None or stored.horizon_ms < required.horizon_ms


def _list_names(where: Node) -> set[str]:
    return {name for leaf in leaves_of(where) for name in leaf.list_references()}


def _reads_groups(where: Node) -> bool:
    return any(leaf.depends_on is Dependency.GROUPS for leaf in leaves_of(where))
