"""All segments and computed traits together: what an event feeds, what a change touches, who is a member now. Pure."""

from collections import ChainMap
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from schemas.events import Event
from domain.segments.evaluate_computed import compute
from domain.segments.computed_traits import SHIPPED, ComputedTraitSpec
from domain.definitions.kinds import (AnyDefinition, ComputedTrait, Segment, SegmentList)
from domain.segments.evaluate import group_holds
from domain.segments.profile_facts import Answer, Facts, Group
from domain.segments.language import (Account, Calendar, Household, InList, InSegment, Lifecycle, Node, Percent, Rfm, Trait, content_hash, version_of, walk)
from domain.segments.leaf_models import AccountLeaf, HouseholdLeaf
from domain.segments.leaf_registers import needs
from domain.segments.registers import Entry, Register
from domain.segments.tree import (OUT, Compiled, Verdict, compiled, registers_of)

MAX_SEGMENT_DEPTH: Final = 3
"""How far `in_segment` may lead from segment to segment."""
NAMED: Final = "*named"
"""What changed when a profile's events name identifiers that they did not name before."""

__all__ = ["OUT", "CyclicSegments", "Facts", "Group", "Plan", "Verdict", "group_holds", "trait_change"]


class CyclicSegments(ValueError):
    """`in_segment` leads back to the segment itself, or too far; the text names the way."""


def trait_change(name: str) -> str:
    """What changed when a trait did."""
    return f"*trait {name}"


@dataclass(frozen=True, slots=True)
class Computation:
    """A computed trait, its registers and its version."""

    spec: ComputedTraitSpec
    registers: Sequence[Register]
    version: str


class Plan:
    """Compiled definitions. Holds no state; made anew when a definition changes."""

    def __init__(self, definitions: Iterable[AnyDefinition] = ()) -> None:
        held = list(definitions)
        ordered = in_order([one for one in held if isinstance(one, Segment)])
        self.segments: dict[str, Segment] = {segment.metadata.name: segment for segment in ordered}
        self.versions = {name: version_of(segment.spec) for name, segment in self.segments.items()}
        self.lists = {one.metadata.name: frozenset(one.spec.nodes) for one in held if isinstance(one, SegmentList)}
        specs = SHIPPED | {one.metadata.name: one.spec for one in held if isinstance(one, ComputedTrait)}
        self.registers: dict[str, Register] = {}
        self.account_leaves: list[AccountLeaf] = []
        self.household_leaves: list[HouseholdLeaf] = []
        self.household_limits: dict[str, int] = {}
        needed = {name: [self._register(one) for one in needs(spec)] for name, spec in sorted(specs.items())}
        nodes = {name: walk(segment.spec.where) for name, segment in self.segments.items()}
        for found in nodes.values():
            self._take(found)
        self.computed = {
            name: Computation(specs[name], [self.registers[key] for key in keys], content_hash(specs[name].model_dump(mode="json")))
            for name, keys in needed.items()
        }
        self._compiled: dict[str, Compiled] = {
            name: compiled(segment.spec.where, self.registers, self.lists) for name, segment in self.segments.items()
        }
        self._fed: dict[str, list[Register]] = {}
        for register in self.registers.values():
            self._fed.setdefault(register.event, []).append(register)
        self._index(nodes)
        self.blank_computed, self.blank = self.at(Facts(), 0)
        self.blank_members = {name for name, verdict in self.blank.items() if verdict.member}
        self.fingerprint = content_hash(
            [
                self.versions,
                {name: one.version for name, one in self.computed.items()},
                {name: sorted(found) for name, found in self.lists.items()},
            ]
        )

    def _register(self, register: Register) -> str:
        held = self.registers.get(register.key)
        self.registers[register.key] = register if held is None else held.with_room_of(register)
        return register.key

    def _take(self, nodes: Iterable[Any]) -> None:
        for node in nodes:
            for register in registers_of(node):
                self._register(register)
            if isinstance(node, Account):
                self.account_leaves.append(node.account)
            elif isinstance(node, Household):
                self.household_leaves.append(node.household)
                if (counted := node.household.did) is not None:
                    self.household_limits[counted.event] = max(self.household_limits.get(counted.event, 0), counted.at_least)

    def _index(self, nodes: Mapping[str, Iterable[Any]]) -> None:
        """Which computed traits and segments a change can concern; those that look at groups are looked at with every touch."""
        self._computed_by: dict[str, set[str]] = {}
        for name, computation in self.computed.items():
            for register in computation.registers:
                self._computed_by.setdefault(register.event, set()).add(name)
            if computation.spec.kind == "lifecycle":
                self._computed_by.setdefault(NAMED, set()).add(name)
        self._segments_by: dict[str, set[str]] = {}
        self._segments_with: dict[str, set[str]] = {}
        self.dependents: dict[str, set[str]] = {}
        self._always: set[str] = set()
        self._naming: set[str] = set()
        self._by_whom: set[str] = set()
        for name, found in nodes.items():
            for node in found:
                if isinstance(node, Account | Household):
                    self._always.add(name)
                elif isinstance(node, Percent | InList):
                    self._by_whom.add(name)
                elif isinstance(node, InSegment):
                    self.dependents.setdefault(node.in_segment, set()).add(name)
                    self._naming.add(name)
                for register in registers_of(node):
                    self._segments_by.setdefault(register.event, set()).add(name)
                for path in paths_of(node):
                    self._depend(name, path)

    def _depend(self, segment: str, path: str) -> None:
        if path.startswith("computed."):
            self._segments_with.setdefault(path.split(".")[1], set()).add(segment)
        else:
            for trait in {path, path.split(".")[0]}:
                self._segments_by.setdefault(trait_change(trait), set()).add(segment)

    def feed(self, event: Event, tie: str) -> list[tuple[Register, Entry]]:
        """What an event adds to which registers. `tie` is the message's."""
        return [
            (register, entry) for register in self._fed.get(event.label, ()) if (entry := register.entry(event, tie)) is not None
        ]

    def concerned(self, changed: Collection[str] | None) -> tuple[set[str], set[str]]:
        """The computed traits and the segments that these changes can concern (None: everything may have changed).

        Segments that name other segments or computed traits are not among them: see `evaluate`.
        """
        if changed is None:
            return set(self.computed), set(self.segments)
        computed = {name for change in changed for name in self._computed_by.get(change, ())}
        segments = {name for change in changed for name in self._segments_by.get(change, ())}
        return computed, segments | self._always

    def reached(self, facts: Facts) -> tuple[set[str], set[str]]:
        """The computed traits and the segments that anything of these facts can concern.

        All others come to what they come to without any facts, at any time: `blank_computed` and `blank`.
        """
        fed = {self.registers[key].event for key in (*facts.kept, *facts.tallies) if key in self.registers}
        computed, segments = self.concerned({NAMED, *fed, *map(trait_change, facts.traits)})
        return computed, segments | self._by_whom

    def compute(self, facts: Facts, now_ms: int, names: Iterable[str] | None = None) -> dict[str, Answer]:
        """The values of computed traits."""
        return {
            name: compute(self.computed[name].spec, self.computed[name].registers, facts, now_ms)
            for name in (self.computed if names is None else sorted(names))
        }

    def with_computed(self, computed: Iterable[str]) -> set[str]:
        """The segments that look at one of these computed traits."""
        return {name for trait in computed for name in self._segments_with.get(trait, ())}

    def evaluate(
        self, facts: Facts, now_ms: int, names: Collection[str] | None = None, earlier: Mapping[str, Verdict] | None = None
    ) -> dict[str, Verdict]:
        """Verdicts at `now_ms` of the segments `names` (None: of all), and of those that name one whose verdict changes by it.

        `earlier` are the verdicts that held before. `facts.computed` must be what they are now.
        """
        before = {} if earlier is None else earlier
        wanted = set(self.segments) if names is None else set(names)
        found: dict[str, Verdict] = {}
        verdicts = ChainMap(found, before)  # type: ignore[arg-type]  # only the first of a ChainMap's maps is ever written to
        for name in self.segments if names is None else self._ordered(wanted):
            if name not in wanted:
                continue
            found[name] = self._compiled[name](facts, now_ms, verdicts)
            if found[name] != before.get(name):
                wanted |= self.dependents.get(name, set())
        return found

    def _ordered(self, wanted: Collection[str]) -> Iterable[str]:
        """All that may have to be looked at, those that others name first."""
        reached, left = set(wanted), list(wanted)
        while left:
            more = self.dependents.get(left.pop(), set()) - reached
            reached |= more
            left += more
        if reached.isdisjoint(self._naming):
            return sorted(reached & self.segments.keys())
        return [name for name in self.segments if name in reached]

    def at(self, facts: Facts, now_ms: int) -> tuple[dict[str, Any], dict[str, Verdict]]:
        """All computed traits and all verdicts at an instant, from nothing."""
        computed = {name: answer.value for name, answer in self.compute(facts, now_ms).items()}
        shown = {name: value for name, value in computed.items() if value is not None}
        return shown, self.evaluate(replace(facts, computed=shown), now_ms)


def paths_of(node: Node) -> tuple[str, ...]:
    """The traits that a leaf looks at; computed ones as `computed.NAME`."""
    if isinstance(node, Trait):
        return (node.trait.path,)
    if isinstance(node, Calendar):
        return (node.calendar.trait, node.calendar.zone_trait)
    if isinstance(node, Rfm):
        return (f"computed.{node.rfm.of}",)
    return (f"computed.{node.lifecycle.of}",) if isinstance(node, Lifecycle) else ()


def in_order(segments: list[Segment]) -> list[Segment]:
    """Segments with those that they name first; a name that is not defined counts as nobody's. Raises CyclicSegments."""
    by_name = {segment.metadata.name: segment for segment in sorted(segments, key=lambda s: s.metadata.name)}
    done: dict[str, tuple[Segment, int]] = {}

    def visit(name: str, path: tuple[str, ...]) -> int:
        if name in path:
            raise CyclicSegments(f"in_segment leads in a circle: {' -> '.join((*path, name))}")
        if name not in by_name:
            return 0
        if name not in done:
            named = [node.in_segment for node in walk(by_name[name].spec.where) if isinstance(node, InSegment)]
            depth = 1 + max((visit(other, (*path, name)) for other in named), default=-1)
            if depth > MAX_SEGMENT_DEPTH:
                raise CyclicSegments(f"{name}: in_segment leads over more than {MAX_SEGMENT_DEPTH} segments: name them directly")
            done[name] = (by_name[name], depth)
        return done[name][1]

    for name in by_name:
        visit(name, ())
    return [segment for segment, _ in done.values()]
