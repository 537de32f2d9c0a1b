"""Why a profile is in a segment, or not: the tree with what each leaf comes to, from which entries, and when it turns. Pure."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

from domain.segments.comparisons import lookup
from domain.segments.describe import describe_computed_trait, describe_expectation, describe_node
from domain.segments.evaluate import group_matches, trait_value, zone_of
from domain.segments.language import (
    AllOf,
    AnyOf,
    CalendarCondition,
    InListCondition,
    InSegmentCondition,
    Node,
    Not,
    children_of,
    keyword_of,
    walk_nodes,
)
from domain.segments.leaf_models import AccountLeaf, AggregateLeaf, DidLeaf, DidNotLeaf, HouseholdLeaf, OccurrenceLeaf, SequenceLeaf
from domain.segments.plan import SegmentPlan, trait_paths_of
from domain.segments.profile_facts import GroupFacts, LeafResult, ProfileFacts
from domain.segments.registers import Entry, Register
from domain.segments.tree import CompiledLeaf, compile_leaf, leaf_of, registers_of
from schemas.instants import NEVER

MAX_WORK: Final = 100_000
"""How far changes are followed to find the one that turns a node: each costs NODE_WORK per node and one per entry."""
NODE_WORK: Final = 20
COMPUTED_KEYWORD: Final = "computed"


@dataclass(frozen=True, slots=True)
class NodeEvidence:
    """What a value comes from: entries of a register, `count` events of one that keeps none (`entries` is None), or a trait."""

    register: Register | None = None
    entries: tuple[Entry, ...] | None = ()
    count: int = 0
    trait: str = ""


@dataclass(frozen=True, slots=True)
class ExplainedNode:
    """A node, or a computed trait (its keyword is COMPUTED, `holds` is None) below the leaf that looks at it.

    `is_lower_bound`: the register keeps no more than that. `next_change_ms` is when the value or the answer can change by time
    alone, `flips_at_ms`
    when `holds` does turn if nothing else happens; NEVER if not. `is_approximate`: the register was too small for the question.
    """

    keyword: str
    text: str
    holds: bool | None
    value: Any = None
    expected: str = ""
    is_lower_bound: bool = False
    next_change_ms: int = NEVER
    flips_at_ms: int = NEVER
    is_approximate: bool = False
    evidence: tuple[NodeEvidence, ...] = ()
    children: tuple["ExplainedNode", ...] = ()

    def walk(self) -> Iterator["ExplainedNode"]:
        """This one and all below, parents first."""
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass(frozen=True, slots=True)
class SegmentExplanation:
    """The answer about one segment. Changes were followed up to `until_ms`: NEVER says that none was left."""

    segment: str
    version: str
    tree: ExplainedNode
    until_ms: int

    @property
    def is_approximate(self) -> bool:
        """Whether any part of it is."""
        return any(node.is_approximate for node in self.tree.walk())


@dataclass(slots=True)
class SegmentExplainer:
    """Explains segments of a plan; keeps what it has compiled of them."""

    plan: SegmentPlan
    _compiled_leaves: dict[int, tuple[CompiledLeaf, str, str]] = field(default_factory=dict)
    _computed_by_segment: dict[str, set[str]] = field(default_factory=dict)

    def explain(self, name: str, facts: ProfileFacts, now_ms: int) -> SegmentExplanation:
        """Why a profile is in the segment `name` of the plan at `now_ms`, or why not. `facts.computed` need not be given."""
        tree = self.tree_at(name, facts, now_ms)
        at_ms, remaining_work = _next_change_ms(tree), MAX_WORK
        while (
            at_ms < NEVER
            and remaining_work > 0
            and any(node.flips_at_ms == NEVER and node.holds is not None for node in tree.walk())
        ):
            later = self.tree_at(name, facts, at_ms)
            tree, at_ms, remaining_work = (
                _with_flips(tree, later, at_ms),
                _next_change_ms(later),
                remaining_work - _work_cost(later),
            )
        return SegmentExplanation(name, self.plan.versions[name], tree, at_ms)

    def next_flip(self, name: str, facts: ProfileFacts, now_ms: int, max_changes: int = 100) -> tuple[bool, int]:
        """Whether the profile is a member, and when that turns by itself; NEVER when it does not within `max_changes` changes."""
        tree = self.tree_at(name, facts, now_ms)
        is_member, at_ms = bool(tree.holds), tree.next_change_ms
        for _ in range(max_changes):
            if at_ms == NEVER:
                break
            later = self.tree_at(name, facts, at_ms)
            if bool(later.holds) is not is_member:
                return is_member, at_ms
            at_ms = later.next_change_ms
        return is_member, NEVER

    def tree_at(self, name: str, facts: ProfileFacts, now_ms: int) -> ExplainedNode:
        """The tree at an instant, without when it turns."""
        if name not in self._computed_by_segment:
            self._computed_by_segment[name] = set(self._computed_traits_of(name))
        answers = self.plan.evaluate_computed(facts, now_ms, self._computed_by_segment[name])
        values = {trait: answer.value for trait, answer in answers.items() if answer.value is not None}
        spec = self.plan.segments[name]
        return self._explain_node(spec.where, replace(facts, computed=values), now_ms, answers)

    def _computed_traits_of(self, name: str) -> Iterator[str]:
        """The computed traits that a segment looks at, through other segments too."""
        for node in walk_nodes(self.plan.segments[name].where):
            yield from (trait for path in trait_paths_of(node) if (trait := _computed_name(path)) in self.plan.computed)
            if isinstance(node, InSegmentCondition) and node.in_segment in self.plan.segments:
                yield from self._computed_traits_of(node.in_segment)

    def _explain_node(self, node: Node, facts: ProfileFacts, now_ms: int, computed: Mapping[str, LeafResult]) -> ExplainedNode:
        if isinstance(node, AllOf | AnyOf | Not):
            children = tuple(self._explain_node(child, facts, now_ms, computed) for child in children_of(node))
            holds, next_ms = _combine_children(node, children)
            return ExplainedNode(keyword_of(type(node)), describe_node(node), holds, next_change_ms=next_ms, children=children)
        if isinstance(node, InSegmentCondition):
            return self._explain_segment(node, facts, now_ms, computed)
        if id(node) not in self._compiled_leaves:
            self._compiled_leaves[id(node)] = (
                compile_leaf(node, self.plan.registers, self.plan.lists),
                describe_node(node),
                describe_expectation(node),
            )
        evaluate, description, expectation = self._compiled_leaves[id(node)]
        answer = evaluate(facts, now_ms)
        registers = [self.plan.registers[register.key] for register in registers_of(node)]
        paths = trait_paths_of(node)
        children = tuple(
            self._explain_computed(name, facts, computed[name]) for path in paths if (name := _computed_name(path)) in computed
        )
        return ExplainedNode(
            keyword=keyword_of(type(node)),
            text=description,
            holds=answer.holds,
            value=self._displayed_value(node, answer, facts, now_ms),
            expected=expectation,
            is_lower_bound=_is_lower_bound(node, answer, registers),
            next_change_ms=min(answer.next_change_ms, *(child.next_change_ms for child in children))
            if children
            else answer.next_change_ms,
            is_approximate=answer.is_approximate,
            evidence=(*_register_evidence(node, registers, answer, facts, now_ms), *_trait_evidence(paths)),
            children=children,
        )

    def _explain_segment(
        self, node: InSegmentCondition, facts: ProfileFacts, now_ms: int, computed: Mapping[str, LeafResult]
    ) -> ExplainedNode:
        segment = self.plan.segments.get(node.in_segment)
        if segment is None:
            return ExplainedNode("in_segment", f"{describe_node(node)}, which is not defined", holds=False)
        root = self._explain_node(segment.where, facts, now_ms, computed)
        return ExplainedNode("in_segment", describe_node(node), root.holds, next_change_ms=root.next_change_ms, children=(root,))

    def _explain_computed(self, name: str, facts: ProfileFacts, answer: LeafResult) -> ExplainedNode:
        computation = self.plan.computed[name]
        register = computation.registers[0]
        tally = facts.tallies.get(register.key, {})
        evidence = (
            NodeEvidence(register, None, sum(tally_count[0] for tally_count in tally.values()))
            if register.form == "tally"
            else NodeEvidence(register, tuple(answer.entries), len(answer.entries))
        )
        return ExplainedNode(
            COMPUTED_KEYWORD,
            describe_computed_trait(name, computation.spec),
            None,
            answer.value,
            next_change_ms=answer.next_change_ms,
            is_approximate=answer.is_approximate,
            evidence=(evidence,) if evidence.count else (),
        )

    def _displayed_value(self, node: Node, answer: LeafResult, facts: ProfileFacts, now_ms: int) -> Any:
        """What a leaf found, in full."""
        if isinstance(node, InListCondition):
            return len(self.plan.lists.get(node.list, frozenset()).intersection(facts.nodes))
        if isinstance(node, CalendarCondition) and answer.value is not None:
            zone = zone_of(trait_value(node.calendar.zone_trait, facts), node.calendar.zone)
            today = datetime.fromtimestamp(now_ms / 1000, tz=UTC).astimezone(zone).date()
            return {"date": answer.value, "today": today.isoformat(), "zone": zone.key}
        leaf = leaf_of(node)
        match leaf:
            case OccurrenceLeaf():
                return None if answer.value is None else {"at_ms": answer.value, **_occurrence_details(leaf, answer)}
            case AccountLeaf():
                return [{**_group_details(leaf, account), "fits": group_matches(leaf, account)} for account in facts.accounts]
            case HouseholdLeaf():
                return None if facts.household is None else _group_details(leaf, facts.household)
        return None if leaf is True else answer.value


def _computed_name(path: str) -> str:
    return path.split(".")[1] if path.startswith("computed.") else ""


def _combine_children(node: AllOf | AnyOf | Not, children: tuple[ExplainedNode, ...]) -> tuple[bool, int]:
    if isinstance(node, Not):
        return not children[0].holds, children[0].next_change_ms
    settling_value = isinstance(node, AnyOf)
    settling_changes = [child.next_change_ms for child in children if child.holds is settling_value]
    return (
        (settling_value, max(settling_changes))
        if settling_changes
        else (not settling_value, min(child.next_change_ms for child in children))
    )


def _work_cost(tree: ExplainedNode) -> int:
    return sum(NODE_WORK + sum(evidence.count for evidence in node.evidence if evidence.entries) for node in tree.walk())


def _next_change_ms(tree: ExplainedNode) -> int:
    return min(node.next_change_ms for node in tree.walk())


def _with_flips(tree: ExplainedNode, later: ExplainedNode, at_ms: int) -> ExplainedNode:
    """The tree of now with what has turned at `at_ms` noted. Both have the same shape."""
    children = tuple(
        _with_flips(child, later_child, at_ms) for child, later_child in zip(tree.children, later.children, strict=True)
    )
    has_flipped = tree.flips_at_ms == NEVER and tree.holds is not None and tree.holds is not later.holds
    return replace(tree, children=children, flips_at_ms=at_ms if has_flipped else tree.flips_at_ms)


def _occurrence_details(leaf: OccurrenceLeaf, answer: LeafResult) -> dict[str, bool]:
    return {"as_asked": answer.entries[0][2] is not False} if leaf.having else {}


def _group_details(leaf: AccountLeaf | HouseholdLeaf, group: GroupFacts) -> dict[str, Any]:
    details: dict[str, Any] = {"members": group.members}
    if leaf.trait is not None:
        details[leaf.trait.path] = lookup(group.traits, leaf.trait.path)
    if isinstance(leaf, HouseholdLeaf) and leaf.did is not None:
        details[leaf.did.event] = group.counters.get(leaf.did.event, 0)
    return details


def _is_lower_bound(node: Node, answer: LeafResult, registers: Collection[Register]) -> bool:
    """Whether a count ends where its register does."""
    leaf = leaf_of(node)
    is_count = isinstance(leaf, DidLeaf | DidNotLeaf) or (isinstance(leaf, AggregateLeaf) and leaf.of == "distinct")
    return is_count and any(len(answer.entries) >= register.capacity for register in registers)


def _register_evidence(
    node: Node, registers: list[Register], answer: LeafResult, facts: ProfileFacts, now_ms: int
) -> Iterator[NodeEvidence]:
    leaf = leaf_of(node)
    for register in registers:
        if register.form == "tally":
            if tally_count := facts.tallies.get(register.key, {}).get(""):
                yield NodeEvidence(register, None, tally_count[0])
        elif register is registers[0]:
            if answer.entries:
                yield NodeEvidence(register, tuple(answer.entries), len(answer.entries))
        elif isinstance(leaf, SequenceLeaf):
            follow_up_within = leaf.follow_up.within
            follow_ups = tuple(
                entry
                for entry in facts.entries(register)
                if entry[0] <= now_ms
                and any(
                    start[0] < entry[0]
                    and start[2] == entry[2]
                    and (follow_up_within is None or entry[0] <= start[0] + follow_up_within)
                    for start in answer.entries
                )
            )
            if follow_ups:
                yield NodeEvidence(register, follow_ups, len(follow_ups))


def _trait_evidence(paths: tuple[str, ...]) -> Iterator[NodeEvidence]:
    for path in paths:
        if not path.startswith("computed."):
            yield NodeEvidence(trait=path)
