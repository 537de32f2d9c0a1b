"""What a change of definitions asks of history: registers to seed, segments to compute, profiles to look at again. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from domain.segments.language import AccountCondition, HouseholdCondition, InListCondition, Node, walk_nodes
from domain.segments.plan import SegmentPlan
from domain.segments.registers import Register


@dataclass(frozen=True, slots=True)
class PlanChanges:
    """`registers` are those that hold too little, by key; `segments` those whose members may be others by the new definitions, each
    after those that it names; `group_segments` those of them that look at accounts or households. `computed` are computed
    traits that are
    new, changed or gone; `recount_households` says that households are asked for counts that profiles have not contributed."""

    registers: Mapping[str, Register] = field(default_factory=dict)
    segments: tuple[str, ...] = ()
    group_segments: frozenset[str] = frozenset()
    computed: frozenset[str] = frozenset()
    recount_households: bool = False

    def __bool__(self) -> bool:
        return bool(self.registers or self.segments or self.computed)

    @property
    def event_labels(self) -> tuple[str, ...]:
        """The events that the registers are fed by."""
        return tuple(sorted({register.event for register in self.registers.values()}))


def compare_plans(before: SegmentPlan, after: SegmentPlan) -> PlanChanges:
    """What is to be done so that a state kept by `before` is one kept by `after`."""
    registers = {key: register for key, register in after.registers.items() if _needs_seed(before.registers.get(key), register)}
    trait_versions = [{name: one.version for name, one in plan.computed.items()} for plan in (before, after)]
    computed = {
        name
        for name in before.computed.keys() | after.computed.keys()
        if trait_versions[0].get(name) != trait_versions[1].get(name)
    }
    changed_lists = {name for name in before.lists.keys() | after.lists.keys() if before.lists.get(name) != after.lists.get(name)}
    list_readers = {name for name, segment in after.segments.items() if _list_names(segment.where) & changed_lists}
    changed_versions = {name for name, version in after.versions.items() if before.versions.get(name) != version}
    removed_dependents = {
        name for segment in before.segments.keys() - after.segments.keys() for name in after.dependents.get(segment, ())
    }
    segments = with_dependents(
        after, changed_versions | list_readers | removed_dependents | after.segments_using_computed(computed)
    )
    group_readers = {name for name, segment in after.segments.items() if _reads_groups(segment.where)}
    group_segments = with_dependents(after, group_readers) & segments
    ordered = tuple(name for name in after.segments if name in segments)
    stored_limits = before.household_limits
    recount_households = any(stored_limits.get(label, 0) < limit for label, limit in after.household_limits.items())
    return PlanChanges(registers, ordered, frozenset(group_segments), frozenset(computed), recount_households)


def with_dependents(plan: SegmentPlan, names: Collection[str]) -> set[str]:
    """These segments and all that name one of them, directly or not."""
    reached, unvisited = set(names), list(names)
    while unvisited:
        dependents = plan.dependents.get(unvisited.pop(), set()) - reached
        reached |= dependents
        unvisited += dependents
    return reached & plan.segments.keys()


def _needs_seed(stored: Register | None, required: Register) -> bool:
    """Whether what is held is less than what is wanted."""
    if stored is None or stored.capacity < required.capacity:
        return True
    if stored.horizon_ms is None:
        return False
    return required.horizon_ms is None or stored.horizon_ms < required.horizon_ms


def _list_names(where: Node) -> set[str]:
    return {node.list for node in walk_nodes(where) if isinstance(node, InListCondition)}


def _reads_groups(where: Node) -> bool:
    return any(isinstance(node, AccountCondition | HouseholdCondition) for node in walk_nodes(where))
