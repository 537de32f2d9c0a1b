"""What a change of definitions asks of history: registers to seed, segments to compute, profiles to look at again. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from domain.segments.language import (Account, Household, InList, Node, walk)
from domain.segments.plan import Plan
from domain.segments.registers import Register


@dataclass(frozen=True, slots=True)
class Changes:
    """`registers` are those that hold too little, by key; `segments` those whose members may be others by the new definitions, each
    after those that it names; `grouped` those of them that look at accounts or households. `computed` are computed traits that are
    new, changed or gone; `regroups` says that households are asked for counts that profiles have not contributed."""

    registers: Mapping[str, Register] = field(default_factory=dict)
    segments: tuple[str, ...] = ()
    grouped: frozenset[str] = frozenset()
    computed: frozenset[str] = frozenset()
    regroups: bool = False

    def __bool__(self) -> bool:
        return bool(self.registers or self.segments or self.computed)

    @property
    def labels(self) -> tuple[str, ...]:
        """The events that the registers are fed by."""
        return tuple(sorted({register.event for register in self.registers.values()}))


def compare(before: Plan, after: Plan) -> Changes:
    """What is to be done so that a state kept by `before` is one kept by `after`."""
    registers = {key: one for key, one in after.registers.items() if _lacks(before.registers.get(key), one)}
    versions = [{name: one.version for name, one in plan.computed.items()} for plan in (before, after)]
    computed = {name for name in before.computed.keys() | after.computed.keys() if versions[0].get(name) != versions[1].get(name)}
    lists = {name for name in before.lists.keys() | after.lists.keys() if before.lists.get(name) != after.lists.get(name)}
    looking = {name for name, segment in after.segments.items() if _named(segment.spec.where) & lists}
    other = {name for name, version in after.versions.items() if before.versions.get(name) != version}
    gone = {name for segment in before.segments.keys() - after.segments.keys() for name in after.dependents.get(segment, ())}
    segments = with_dependents(after, other | looking | gone | after.with_computed(computed))
    grouping = {name for name, segment in after.segments.items() if _looks_at_groups(segment.spec.where)}
    grouped = with_dependents(after, grouping) & segments
    ordered = tuple(name for name in after.segments if name in segments)
    held = before.household_limits
    regroups = any(held.get(label, 0) < most for label, most in after.household_limits.items())
    return Changes(registers, ordered, frozenset(grouped), frozenset(computed), regroups)


def with_dependents(plan: Plan, names: Collection[str]) -> set[str]:
    """These segments and all that name one of them, directly or not."""
    found, left = set(names), list(names)
    while left:
        more = plan.dependents.get(left.pop(), set()) - found
        found |= more
        left += more
    return found & plan.segments.keys()


def _lacks(held: Register | None, wanted: Register) -> bool:
    """Whether what is held is less than what is wanted."""
    if held is None or held.keep < wanted.keep:
        return True
    if held.horizon_ms is None:
        return False
    return wanted.horizon_ms is None or held.horizon_ms < wanted.horizon_ms


def _named(where: Node) -> set[str]:
    return {node.list for node in walk(where) if isinstance(node, InList)}


def _looks_at_groups(where: Node) -> bool:
    return any(isinstance(node, Account | Household) for node in walk(where))
