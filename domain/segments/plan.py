"""All segments and computed traits compiled together: which registers an event feeds, and which results a change affects. Pure.

Why: the cost of an event must depend on the segments that ask about it, not on how many segments there are. So the plan
indexes, once per change of a definition, which registers each event feeds and which segments and computed traits each
kind of change can affect.

The invariant: evaluating only what `affected_by(changed)` returns, and what is due, gives the same results as
evaluating everything. It holds since a leaf names all its inputs: registers (so events), traits, computed traits,
lists, groups, the profile's identity, other segments.

An example: segments `buyers` = "did Bought" and `loyal` = "in_segment buyers and computed.orders >= 5". The event
`Bought` feeds one register of `buyers` and the one behind `computed.orders`; `affected_by({"Bought"})` returns
({"orders"}, {"buyers"}). If `buyers` or the value of `orders` changes, `loyal` is evaluated as well; a profile's
`Viewed` evaluates none of them, nor do a thousand other segments.
"""

from collections import ChainMap
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

import msgspec

from domain.segments.computed_registers import computed_trait_registers
from domain.segments.computed_traits import DEFAULT_COMPUTED_TRAITS, ComputedTraitSpec
from domain.segments.evaluate_computed import evaluate_computed_trait
from domain.segments.language import SegmentSpec, leaves_of, segment_references, segment_version
from domain.segments.leaves.leaf import Dependency, GroupCondition, LeafCondition
from domain.segments.profile_facts import COMPUTED_PREFIX, LeafResult, ProfileFacts
from domain.segments.registers import Entry, Register
from domain.segments.retained_names import COMMON_LABELS, COMMON_TRAITS, RetainedNames, names_on_paths
from domain.segments.tree import CompiledTree, MembershipResult, compile_tree
from schemas.events import Event
from schemas.hashes import content_hash
from schemas.records import GroupKind

MAX_SEGMENT_DEPTH: Final = 3
"""How many segments `in_segment` may lead through: each level is evaluated again when the one below changes."""
NAMESPACES_CHANGED: Final = "*named"
"""The change key for events that name identifiers of a namespace for the first time; stored in records, so its text stays."""

NO_SEGMENTS: Final[Mapping[str, SegmentSpec]] = MappingProxyType({})
NO_COMPUTED_TRAITS: Final[Mapping[str, ComputedTraitSpec]] = MappingProxyType({})
NO_LISTS: Final[Mapping[str, frozenset[str]]] = MappingProxyType({})


class CyclicSegments(ValueError):
    """`in_segment` leads back to the segment itself, or through too many segments; the text names the path."""


def trait_change_key(name: str) -> str:
    """Return the change key for a trait.

    A track event may have this very text as its name. Then a few segments more are evaluated, which changes no result.
    """
    return f"*trait {name}"


@dataclass(frozen=True, slots=True)
class CompiledComputedTrait:
    """A computed trait with its registers, each as large as the plan makes it, and the hash of its definition."""

    spec: ComputedTraitSpec
    registers: Sequence[Register]
    version: str


class SegmentPlan:
    """Compiled definitions. It never changes: another one is built when a definition changes.

    `segments` are in the order of their references, `registers` by key. `group_conditions` are the leaves about accounts and
    households; `household_limits` give, for each event, the count beyond which it makes no difference to any leaf how often a
    household did it. `blank_computed` and `blank_results` are the results for a profile without any facts,
    `blank_members` the segments that such a profile is in. `turning_changes` are the changes that can turn a segment at
    all, `turning_registers` the keys of the registers that segments read, also through computed traits. `retained` are the names
    that fragments keep, `traits` further ones among them that other definitions read. `fingerprint` is a hash of everything
    that can change a result; a stored membership with another fingerprint has to be evaluated completely.
    """

    def __init__(
        self,
        segments: Mapping[str, SegmentSpec] = NO_SEGMENTS,
        computed: Mapping[str, ComputedTraitSpec] = NO_COMPUTED_TRAITS,
        lists: Mapping[str, frozenset[str]] = NO_LISTS,
        traits: frozenset[str] = frozenset(),
    ) -> None:
        self.segments: dict[str, SegmentSpec] = sort_by_reference(segments)
        self.versions = {name: segment_version(spec) for name, spec in self.segments.items()}
        self.lists = dict(lists)
        # A definition named `rfm` or `lifecycle` replaces the default of that name.
        specs = DEFAULT_COMPUTED_TRAITS | dict(computed)
        self.registers: dict[str, Register] = {}
        self.group_conditions: dict[GroupKind, list[GroupCondition]] = {"account": [], "household": []}
        self.household_limits: dict[str, int] = {}
        register_keys = {
            name: [self._add_register(register) for register in computed_trait_registers(spec)]
            for name, spec in sorted(specs.items())
        }
        leaves = {name: leaves_of(spec.where) for name, spec in self.segments.items()}
        for segment_leaves in leaves.values():
            self._add_registers_of(segment_leaves)
        self.computed = {
            name: CompiledComputedTrait(
                specs[name], [self.registers[key] for key in keys], content_hash(specs[name].model_dump(mode="json"))
            )
            for name, keys in register_keys.items()
        }
        # Trees are compiled only now: every register has its final size.
        self._compiled: dict[str, CompiledTree] = {
            name: compile_tree(spec.where, self.registers, self.lists) for name, spec in self.segments.items()
        }
        self._registers_by_event = _by_event(self.registers.values())
        self._index_changes(leaves)
        paths = {path for segment_leaves in leaves.values() for leaf in segment_leaves for path in leaf.trait_paths()}
        self.retained = RetainedNames(
            traits=COMMON_TRAITS | traits | names_on_paths(paths),
            labels=COMMON_LABELS | self._registers_by_event.keys() | self.household_limits.keys(),
        )
        # At any instant, here 0: without entries a leaf's answer depends neither on time nor on a fact, see
        # `LeafCondition.evaluate`.
        self.blank_computed, self.blank_results = self.evaluate_all(ProfileFacts(), 0)
        self.blank_members = {name for name, result in self.blank_results.items() if result.is_member}
        self.fingerprint = content_hash(
            [
                self.versions,
                {name: computation.version for name, computation in self.computed.items()},
                # A list that changed changes answers without any event, just as a definition does.
                {name: sorted(nodes) for name, nodes in self.lists.items()},
            ]
        )

    @classmethod
    def feeding(cls, registers: Mapping[str, Register]) -> "SegmentPlan":
        """Return a plan that only feeds these registers and evaluates nothing; a backfill seeds registers with it."""
        plan = cls()
        plan.registers = dict(registers)
        plan._registers_by_event = _by_event(registers.values())
        return plan

    def _add_register(self, register: Register) -> str:
        """Add a register, or enlarge the one with the same key, and return the key."""
        existing = self.registers.get(register.key)
        self.registers[register.key] = register if existing is None else existing.enlarged_for(register)
        return register.key

    def _add_registers_of(self, leaves: Iterable[LeafCondition]) -> None:
        for leaf in leaves:
            for register in leaf.registers():
                self._add_register(register)
            if isinstance(leaf, GroupCondition):
                self.group_conditions[leaf.group_kind].append(leaf)
                for event, limit in leaf.event_limits().items():
                    self.household_limits[event] = max(self.household_limits.get(event, 0), limit)

    def _index_changes(self, leaves: Mapping[str, Iterable[LeafCondition]]) -> None:
        """Index which computed traits and segments a change can affect.

        Segments that read groups are evaluated with every change of a profile: which of them its groups affect is not known here.
        """
        # The stage `lead` depends on the namespaces that a profile's events name, which no register has.
        self._computed_by_change: dict[str, set[str]] = {}
        for name, computation in self.computed.items():
            for register in computation.registers:
                self._computed_by_change.setdefault(register.event, set()).add(name)
            if computation.spec.kind == "lifecycle":
                self._computed_by_change.setdefault(NAMESPACES_CHANGED, set()).add(name)
        self._segments_by_change: dict[str, set[str]] = {}
        self._segments_by_computed_trait: dict[str, set[str]] = {}
        self.dependents: dict[str, set[str]] = {}
        self._group_segments: set[str] = set()
        self._referencing_segments: set[str] = set()
        self._identity_segments: set[str] = set()
        for name, segment_leaves in leaves.items():
            for referenced in segment_references(self.segments[name].where):
                self.dependents.setdefault(referenced, set()).add(name)
                self._referencing_segments.add(name)
            for leaf in segment_leaves:
                if leaf.depends_on is Dependency.GROUPS:
                    self._group_segments.add(name)
                elif leaf.depends_on is Dependency.IDENTITY:
                    self._identity_segments.add(name)
                for register in leaf.registers():
                    self._segments_by_change.setdefault(register.event, set()).add(name)
                for reference in leaf.trait_references():
                    self._index_trait_path(name, reference.path)
        changes = (*self._segments_by_change, *self._computed_by_change)
        self.turning_changes = {change for change in changes if self.segments_turned_by((change,))}
        read_computed = [computation for name, computation in self.computed.items() if self.segments_using_computed((name,))]
        self.turning_registers = {register.key for computation in read_computed for register in computation.registers}.union(
            register.key for segment_leaves in leaves.values() for leaf in segment_leaves for register in leaf.registers()
        )

    def _index_trait_path(self, segment: str, path: str) -> None:
        if path.startswith(COMPUTED_PREFIX):
            self._segments_by_computed_trait.setdefault(path.split(".")[1], set()).add(segment)
        else:
            # `address.city` may be a trait of that name or a part of the trait `address`: a change of either one
            # affects the segment.
            for trait in {path, path.split(".")[0]}:
                self._segments_by_change.setdefault(trait_change_key(trait), set()).add(segment)

    def entries_from(self, event: Event, tie_breaker: str) -> list[tuple[Register, Entry]]:
        """Return the entries that an event adds, with their registers. `tie_breaker` is the hash of the message's owner and id."""
        return [
            (register, entry)
            for register in self._registers_by_event.get(event.label, ())
            if (entry := register.entry(event, tie_breaker)) is not None
        ]

    def affected_by(self, changed: Collection[str] | None) -> tuple[set[str], set[str]]:
        """Return the names of (computed traits, segments) that these changes can affect directly.

        `changed` are event labels, trait change keys and NAMESPACES_CHANGED; None means that everything may have changed.
        Segments that are affected only through another segment or through a computed trait are not among them: they
        follow from results, see `evaluate` and `segments_using_computed`.
        """
        if changed is None:
            return set(self.computed), set(self.segments)
        computed = {name for change in changed for name in self._computed_by_change.get(change, ())}
        segments = {name for change in changed for name in self._segments_by_change.get(change, ())}
        # An account's summary changes without an event label or a trait of this profile, so no key could name that change.
        return computed, segments | self._group_segments

    def segments_turned_by(self, changed: Iterable[str]) -> set[str]:
        """Return the segments that these changes of a profile can turn, also through computed traits and through other segments."""
        changes = tuple(changed)
        computed = {name for change in changes for name in self._computed_by_change.get(change, ())}
        segments = {name for change in changes for name in self._segments_by_change.get(change, ())}
        return set(self._with_dependents(segments | self.segments_using_computed(computed)))

    def affected_by_facts(self, facts: ProfileFacts) -> tuple[set[str], set[str]]:
        """Return the names of (computed traits, segments) that any of these facts can affect.

        All others have, at any time, the results of a profile without facts: `blank_computed` and `blank_results`.
        """
        registers_events = {self.registers[key].event for key in (*facts.register_entries, *facts.tallies) if key in self.registers}
        computed, segments = self.affected_by({NAMESPACES_CHANGED, *registers_events, *map(trait_change_key, facts.traits)})
        return computed, segments | self._identity_segments

    def evaluate_computed(self, facts: ProfileFacts, now_ms: int, names: Iterable[str] | None = None) -> dict[str, LeafResult]:
        """Return the results of computed traits, `names` or all of them."""
        return {
            name: evaluate_computed_trait(self.computed[name].spec, self.computed[name].registers, facts, now_ms)
            for name in (self.computed if names is None else sorted(names))
        }

    def reads_groups(self, name: str) -> bool:
        """Return whether a segment depends on accounts or households, also through another segment."""
        return not self._group_segments.isdisjoint(self._needed_by(name))

    def segments_using_computed(self, computed: Iterable[str]) -> set[str]:
        """Return the segments with a leaf that reads one of these computed traits."""
        return {name for trait in computed for name in self._segments_by_computed_trait.get(trait, ())}

    def evaluate(
        self,
        facts: ProfileFacts,
        now_ms: int,
        names: Collection[str] | None = None,
        earlier: Mapping[str, MembershipResult] | None = None,
    ) -> dict[str, MembershipResult]:
        """Return the results at `now_ms` of the segments `names` (None: all), and of those that refer to a changed one.

        `earlier` are the results before; a segment that is not evaluated counts as it did there. `facts.computed` must
        be the values of now. The order matters: a segment is evaluated after those that it refers to, so it reads their
        results of this same instant.
        """
        earlier_results = {} if earlier is None else earlier
        requested = set(self.segments) if names is None else set(names)
        results: dict[str, MembershipResult] = {}
        all_results = ChainMap(results, earlier_results)  # type: ignore[arg-type]  # only the first of a ChainMap's maps is ever written to
        for name in self.segments if names is None else self._in_reference_order(requested):
            if name not in requested:
                continue
            results[name] = self._compiled[name](facts, now_ms, all_results)
            # Not membership alone: another next change or approximation is a change for the segments above, too.
            if results[name] != earlier_results.get(name):
                requested |= self.dependents.get(name, set())
        return results

    def _in_reference_order(self, requested: Collection[str]) -> Iterable[str]:
        """Return everything that may have to be evaluated, each segment after those that it refers to."""
        reachable = self._with_dependents(requested)
        # Without references any order will do; sorting a few names is far cheaper than walking through thousands of segments.
        if reachable.isdisjoint(self._referencing_segments):
            return sorted(reachable & self.segments.keys())
        return [name for name in self.segments if name in reachable]

    def _with_dependents(self, names: Collection[str]) -> set[str]:
        """Return these segments and all that refer to them, also through others."""
        reachable, pending = set(names), list(names)
        while pending:
            unvisited = self.dependents.get(pending.pop(), set()) - reachable
            reachable |= unvisited
            pending += unvisited
        return reachable

    def result_at(self, name: str, facts: ProfileFacts, at_ms: int) -> MembershipResult:
        """Return the result of one segment, evaluated from nothing at an instant. `facts.computed` is not read.

        Its `next_change_ms` is at the latest the next instant at which a computed trait behind it changes.
        """
        needed = self._needed_by(name)
        traits = self.evaluate_computed(facts, at_ms, [trait for trait in self.computed if self._reads_computed(needed, trait)])
        values = {trait: answer.value for trait, answer in traits.items() if answer.value is not None}
        completed, results = replace(facts, computed=values), dict[str, MembershipResult]()
        for segment in self.segments:
            if segment in needed:
                results[segment] = self._compiled[segment](completed, at_ms, results)
        next_ms = min((results[name].next_change_ms, *(answer.next_change_ms for answer in traits.values())))
        return msgspec.structs.replace(results[name], next_change_ms=next_ms)

    def _needed_by(self, name: str) -> set[str]:
        """Return a segment and those that it refers to, also through others."""
        needed, pending = {name}, [name]
        while pending:
            unvisited = (self.segments.keys() & set(segment_references(self.segments[pending.pop()].where))) - needed
            needed |= unvisited
            pending += unvisited
        return needed

    def _reads_computed(self, segments: Collection[str], trait: str) -> bool:
        return not self.segments_using_computed((trait,)).isdisjoint(segments)

    def evaluate_all(self, facts: ProfileFacts, now_ms: int) -> tuple[dict[str, Any], dict[str, MembershipResult]]:
        """Return all computed traits with a value and the results of all segments, evaluated from nothing."""
        computed = {name: answer.value for name, answer in self.evaluate_computed(facts, now_ms).items()}
        present_computed = {name: value for name, value in computed.items() if value is not None}
        return present_computed, self.evaluate(replace(facts, computed=present_computed), now_ms)


def _by_event(registers: Iterable[Register]) -> dict[str, list[Register]]:
    by_event: dict[str, list[Register]] = {}
    for register in registers:
        by_event.setdefault(register.event, []).append(register)
    return by_event


def sort_by_reference(segments: Mapping[str, SegmentSpec]) -> dict[str, SegmentSpec]:
    """Order segments so that each comes after those that it refers to by `in_segment`; an undefined name has no members.

    Raises CyclicSegments when references form a circle, or lead over more than MAX_SEGMENT_DEPTH segments.
    """
    by_name = dict(sorted(segments.items()))
    depths: dict[str, int] = {}

    def visit(name: str, trail: tuple[str, ...]) -> int:
        # Asked first: a name on the trail has no depth yet, so the visit would never end.
        if name in trail:
            raise CyclicSegments(f"in_segment leads in a circle: {' -> '.join((*trail, name))}")
        if name not in by_name:
            return 0
        if name not in depths:
            references = segment_references(by_name[name].where)
            depth = 1 + max((visit(other, (*trail, name)) for other in references), default=-1)
            if depth > MAX_SEGMENT_DEPTH:
                raise CyclicSegments(f"{name}: in_segment leads over more than {MAX_SEGMENT_DEPTH} segments: name them directly")
            depths[name] = depth
        return depths[name]

    for name in by_name:
        visit(name, ())
    # A depth is entered only after the depths of everything below it, so this order is already that of the references.
    return {name: by_name[name] for name in depths}
