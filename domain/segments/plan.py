"""All segments and computed traits together: what an event feeds, what a change touches, who is a member now. Pure."""

from collections import ChainMap
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

from domain.segments.computed_registers import computed_trait_registers
from domain.segments.computed_traits import DEFAULT_COMPUTED_TRAITS, ComputedTraitSpec
from domain.segments.evaluate_computed import evaluate_computed_trait
from domain.segments.language import SegmentSpec, leaves_of, segment_references, segment_version
from domain.segments.leaves.leaf import Dependency, GroupCondition, GroupKind, LeafCondition
from domain.segments.profile_facts import LeafResult, ProfileFacts
from domain.segments.registers import Entry, Register
from domain.segments.tree import CompiledTree, MembershipResult, compile_tree
from schemas.events import Event
from schemas.hashes import content_hash

MAX_SEGMENT_DEPTH: Final = 3
"""How far `in_segment` may lead from segment to segment."""
NAMESPACES_CHANGED: Final = "*named"
"""What changed when a profile's events name identifiers that they did not name before."""

NO_SEGMENTS: Final[Mapping[str, SegmentSpec]] = MappingProxyType({})
NO_COMPUTED_TRAITS: Final[Mapping[str, ComputedTraitSpec]] = MappingProxyType({})
NO_LISTS: Final[Mapping[str, frozenset[str]]] = MappingProxyType({})


class CyclicSegments(ValueError):
    """`in_segment` leads back to the segment itself, or too far; the text names the way."""


def trait_change_key(name: str) -> str:
    """What changed when a trait did."""
    return f"*trait {name}"


@dataclass(frozen=True, slots=True)
class CompiledComputedTrait:
    """A computed trait, its registers and its version."""

    spec: ComputedTraitSpec
    registers: Sequence[Register]
    version: str


class SegmentPlan:
    """Compiled definitions. Holds no state; made anew when a definition changes."""

    def __init__(
        self,
        segments: Mapping[str, SegmentSpec] = NO_SEGMENTS,
        computed: Mapping[str, ComputedTraitSpec] = NO_COMPUTED_TRAITS,
        lists: Mapping[str, frozenset[str]] = NO_LISTS,
    ) -> None:
        self.segments: dict[str, SegmentSpec] = sort_by_reference(segments)
        self.versions = {name: segment_version(spec) for name, spec in self.segments.items()}
        self.lists = dict(lists)
        specs = DEFAULT_COMPUTED_TRAITS | dict(computed)
        self.registers: dict[str, Register] = {}
        self.group_conditions: dict[GroupKind, list[GroupCondition]] = {"account": [], "household": []}
        self.household_limits: dict[str, int] = {}
        register_keys = {
            name: [self._add_register(one) for one in computed_trait_registers(spec)] for name, spec in sorted(specs.items())
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
        self._compiled: dict[str, CompiledTree] = {
            name: compile_tree(spec.where, self.registers, self.lists) for name, spec in self.segments.items()
        }
        self._registers_by_event = _by_event(self.registers.values())
        self._index_changes(leaves)
        self.blank_computed, self.blank_results = self.evaluate_all(ProfileFacts(), 0)
        self.blank_members = {name for name, result in self.blank_results.items() if result.is_member}
        self.fingerprint = content_hash(
            [
                self.versions,
                {name: one.version for name, one in self.computed.items()},
                {name: sorted(found) for name, found in self.lists.items()},
            ]
        )

    @classmethod
    def feeding(cls, registers: Mapping[str, Register]) -> "SegmentPlan":
        """Return a plan that feeds these registers alone and evaluates nothing of them; a backfill seeds registers with it."""
        plan = cls()
        plan.registers = dict(registers)
        plan._registers_by_event = _by_event(registers.values())
        return plan

    def _add_register(self, register: Register) -> str:
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
        """Which computed traits and segments a change can concern; those that look at groups are looked at with every touch."""
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

    def _index_trait_path(self, segment: str, path: str) -> None:
        if path.startswith("computed."):
            self._segments_by_computed_trait.setdefault(path.split(".")[1], set()).add(segment)
        else:
            for trait in {path, path.split(".")[0]}:
                self._segments_by_change.setdefault(trait_change_key(trait), set()).add(segment)

    def entries_from(self, event: Event, tie_breaker: str) -> list[tuple[Register, Entry]]:
        """What an event adds to which registers. `tie_breaker` is the message's."""
        return [
            (register, entry)
            for register in self._registers_by_event.get(event.label, ())
            if (entry := register.entry(event, tie_breaker)) is not None
        ]

    def affected_by(self, changed: Collection[str] | None) -> tuple[set[str], set[str]]:
        """The computed traits and the segments that these changes can concern (None: everything may have changed).

        Segments that name other segments or computed traits are not among them: see `evaluate`.
        """
        if changed is None:
            return set(self.computed), set(self.segments)
        computed = {name for change in changed for name in self._computed_by_change.get(change, ())}
        segments = {name for change in changed for name in self._segments_by_change.get(change, ())}
        return computed, segments | self._group_segments

    def affected_by_facts(self, facts: ProfileFacts) -> tuple[set[str], set[str]]:
        """The computed traits and the segments that anything of these facts can concern.

        All others come to what they come to without any facts, at any time: `blank_computed` and `blank_results`.
        """
        registers_events = {self.registers[key].event for key in (*facts.register_entries, *facts.tallies) if key in self.registers}
        computed, segments = self.affected_by({NAMESPACES_CHANGED, *registers_events, *map(trait_change_key, facts.traits)})
        return computed, segments | self._identity_segments

    def evaluate_computed(self, facts: ProfileFacts, now_ms: int, names: Iterable[str] | None = None) -> dict[str, LeafResult]:
        """The values of computed traits."""
        return {
            name: evaluate_computed_trait(self.computed[name].spec, self.computed[name].registers, facts, now_ms)
            for name in (self.computed if names is None else sorted(names))
        }

    def segments_using_computed(self, computed: Iterable[str]) -> set[str]:
        """The segments that look at one of these computed traits."""
        return {name for trait in computed for name in self._segments_by_computed_trait.get(trait, ())}

    def evaluate(
        self,
        facts: ProfileFacts,
        now_ms: int,
        names: Collection[str] | None = None,
        earlier: Mapping[str, MembershipResult] | None = None,
    ) -> dict[str, MembershipResult]:
        """Verdicts at `now_ms` of the segments `names` (None: of all), and of those that name one whose verdict changes by it.

        `earlier` are the verdicts that held before. `facts.computed` must be what they are now.
        """
        earlier_results = {} if earlier is None else earlier
        requested = set(self.segments) if names is None else set(names)
        results: dict[str, MembershipResult] = {}
        all_results = ChainMap(results, earlier_results)  # type: ignore[arg-type]  # only the first of a ChainMap's maps is ever written to
        for name in self.segments if names is None else self._in_reference_order(requested):
            if name not in requested:
                continue
            results[name] = self._compiled[name](facts, now_ms, all_results)
            if results[name] != earlier_results.get(name):
                requested |= self.dependents.get(name, set())
        return results

    def _in_reference_order(self, requested: Collection[str]) -> Iterable[str]:
        """All that may have to be looked at, those that others name first."""
        reachable, pending = set(requested), list(requested)
        while pending:
            unvisited = self.dependents.get(pending.pop(), set()) - reachable
            reachable |= unvisited
            pending += unvisited
        if reachable.isdisjoint(self._referencing_segments):
            return sorted(reachable & self.segments.keys())
        return [name for name in self.segments if name in reachable]

    def evaluate_all(self, facts: ProfileFacts, now_ms: int) -> tuple[dict[str, Any], dict[str, MembershipResult]]:
        """All computed traits and all verdicts at an instant, from nothing."""
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
    return {name: by_name[name] for name in depths}
