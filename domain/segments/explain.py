"""Explain why a profile is in a segment, or not: the tree with each leaf's value, its evidence, and when it will change. Pure.

Why: `next_change_ms` of the stream says when an answer *may* change, which is what a timer needs. People ask when it
*will*. So the explanation follows the changes: it evaluates the tree again at each instant at which anything may
change, as if no further event came, until every node has turned once or the work is used up. The invariant ("Why is
always answered"): the leaves are evaluated by the same functions as in the stream, so an explanation cannot disagree
with the membership that it explains, given the same facts.

An example: "at least 2 Bought within 1h" with events at 10:00 and 10:20, explained at 10:30. The value is 2,
`next_change_ms` 11:00; the tree at 11:00 has the value 1 and no longer holds, so `flips_at_ms` is 11:00 too. With "at
least 1" the value may change at 11:00, but the answer changes at 11:20 only.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from domain.segments.describe import describe_computed_trait, describe_node
from domain.segments.language import (
    AllOf,
    AnyOf,
    InSegmentCondition,
    Node,
    Not,
    children_of,
    keyword_of,
    leaves_of,
    segment_references,
)
from domain.segments.leaves.leaf import LeafCondition, LeafEvaluator, LeafInputs, NodeEvidence, bind_leaf, inputs_of
from domain.segments.plan import SegmentPlan
from domain.segments.profile_facts import LeafResult, ProfileFacts
from domain.segments.value_counts import events_counted
from schemas.instants import NEVER

MAX_WORK: Final = 100_000
"""How much work is spent on finding when nodes change: each evaluation of the tree costs NODE_WORK per node and 1 per entry.

The bound is there so that a tree of 500 nodes over registers of 3,000 entries cannot occupy an API process for long.
"""
NODE_WORK: Final = 20
COMPUTED_KEYWORD: Final = "computed"


@dataclass(frozen=True, slots=True)
class _BoundLeaf:
    """A leaf with everything about it that does not depend on the profile: its evaluation, its inputs and its texts."""

    evaluate: LeafEvaluator
    inputs: LeafInputs
    text: str
    expected: str


@dataclass(frozen=True, slots=True)
class ExplainedNode:
    """A node, or a computed trait below the leaf that reads it (its keyword is COMPUTED_KEYWORD and `holds` is None).

    `is_lower_bound` is true when the register is full, so the true count may be larger than `value`. `next_change_ms` is the
    earliest instant at which the value or the answer can change by time alone; `flips_at_ms` is when `holds` does
    change if no event comes, NEVER if it does not. `is_approximate`: the register was too small for the question.
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
        """Yield this node and all below it, parents first."""
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass(frozen=True, slots=True)
class SegmentExplanation:
    """The explanation of one segment. Changes were followed up to `until_ms`; NEVER means that no change remains to follow."""

    segment: str
    version: str
    tree: ExplainedNode
    until_ms: int

    @property
    def is_approximate(self) -> bool:
        """Whether any node's register was too small for its question."""
        return any(node.is_approximate for node in self.tree.walk())


@dataclass(slots=True)
class SegmentExplainer:
    """Explains segments of one plan, and caches what it has compiled of them. Belongs to one request or one service of a plan."""

    plan: SegmentPlan
    _bound_leaves: dict[int, _BoundLeaf] = field(default_factory=dict)
    _computed_by_segment: dict[str, set[str]] = field(default_factory=dict)

    def explain(self, name: str, facts: ProfileFacts, now_ms: int) -> SegmentExplanation:
        """Explain whether a profile is in the segment `name` at `now_ms`, and when that changes.

        Computed traits are evaluated here, whatever `facts.computed` has. Raises KeyError for a segment that is not in the plan.
        """
        tree = self.tree_at(name, facts, now_ms)
        at_ms, remaining_work = _next_change_ms(tree), MAX_WORK
        # Time goes from change to change, not in steps: between two of these instants no node's value can differ.
        while (
            at_ms < NEVER
            and remaining_work > 0
            and any(node.flips_at_ms == NEVER and node.holds is not None for node in tree.walk())
        ):
            later = self.tree_at(name, facts, at_ms)
            tree = _with_flips(tree, later, at_ms)
            at_ms = _next_change_ms(later)
            remaining_work -= _work_cost(later)
        return SegmentExplanation(name, self.plan.versions[name], tree, at_ms)

    def next_flip(self, name: str, facts: ProfileFacts, now_ms: int, max_changes: int = 100) -> tuple[bool, int]:
        """Return whether the profile is a member, and when that changes by time.

        The instant is NEVER when membership does not change within `max_changes` changes of the tree.
        """
        # Only the root matters here, so the tree's own next change is enough: it skips instants that cannot turn the root.
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
        """Return the tree at an instant, without the instants at which its answers change."""
        if name not in self._computed_by_segment:
            self._computed_by_segment[name] = set(self._computed_traits_of(name))
        # Computed traits depend on the instant too, so the values stored with the membership would be wrong for later ones.
        answers = self.plan.evaluate_computed(facts, now_ms, self._computed_by_segment[name])
        values = {trait: answer.value for trait, answer in answers.items() if answer.value is not None}
        spec = self.plan.segments[name]
        return self._explain_node(spec.where, replace(facts, computed=values), now_ms, answers)

    def _computed_traits_of(self, name: str) -> Iterator[str]:
        """Yield the computed traits that a segment reads, also through other segments."""
        where = self.plan.segments[name].where
        for leaf in leaves_of(where):
            names = (reference.computed_name for reference in leaf.trait_references())
            yield from (trait for trait in names if trait in self.plan.computed)
        for segment in segment_references(where):
            if segment in self.plan.segments:
                yield from self._computed_traits_of(segment)

    def _explain_node(self, node: Node, facts: ProfileFacts, now_ms: int, computed: Mapping[str, LeafResult]) -> ExplainedNode:
        if isinstance(node, AllOf | AnyOf | Not):
            children = tuple(self._explain_node(child, facts, now_ms, computed) for child in children_of(node))
            holds, next_ms = _combine_children(node, children)
            return ExplainedNode(keyword_of(type(node)), describe_node(node), holds, next_change_ms=next_ms, children=children)
        if isinstance(node, InSegmentCondition):
            return self._explain_segment(node, facts, now_ms, computed)
        return self._explain_leaf(node, facts, now_ms, computed)

    def _explain_leaf(
        self, leaf: LeafCondition, facts: ProfileFacts, now_ms: int, computed: Mapping[str, LeafResult]
    ) -> ExplainedNode:
        bound = self._bound_leaf(leaf)
        result = bound.evaluate(facts, now_ms)
        references = leaf.trait_references()
        children = tuple(
            self._explain_computed(reference.computed_name, facts, computed[reference.computed_name])
            for reference in references
            if reference.computed_name in computed
        )
        traits = (NodeEvidence(trait=reference.path) for reference in references if not reference.computed_name)
        return ExplainedNode(
            keyword=keyword_of(type(leaf)),
            text=bound.text,
            holds=result.holds,
            value=leaf.displayed_value(result, bound.inputs, facts, now_ms),
            expected=bound.expected,
            is_lower_bound=leaf.is_lower_bound(result, bound.inputs),
            # A computed trait below may change, and with it what is shown, before the answer can.
            next_change_ms=min((result.next_change_ms, *(child.next_change_ms for child in children))),
            is_approximate=result.is_approximate,
            evidence=(*leaf.evidence(result, bound.inputs, facts, now_ms), *traits),
            children=children,
        )

    def _bound_leaf(self, leaf: LeafCondition) -> _BoundLeaf:
        """Return a leaf bound to the plan, made once: following changes evaluates the same leaves many times."""
        # By identity: equal leaves of two segments are different objects, and the plan holds all of them while this lives.
        if id(leaf) not in self._bound_leaves:
            self._bound_leaves[id(leaf)] = _BoundLeaf(
                evaluate=bind_leaf(leaf, self.plan.registers, self.plan.lists),
                inputs=inputs_of(leaf, self.plan.registers, self.plan.lists),
                text=describe_node(leaf),
                expected=leaf.expectation(),
            )
        return self._bound_leaves[id(leaf)]

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
            NodeEvidence(register, None, events_counted(tally))
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


def _combine_children(node: AllOf | AnyOf | Not, children: tuple[ExplainedNode, ...]) -> tuple[bool, int]:
    if isinstance(node, Not):
        return not children[0].holds, children[0].next_change_ms
    # The same rule as in `tree.evaluate_branch`, which cannot be called here: it stops early, and an explanation shows every child.
    settling_value = isinstance(node, AnyOf)
    settling_changes = [child.next_change_ms for child in children if child.holds is settling_value]
    return (
        (settling_value, max(settling_changes))
        if settling_changes
        else (not settling_value, min(child.next_change_ms for child in children))
    )


def _work_cost(tree: ExplainedNode) -> int:
    # A tally has a count but no entries: it is read in one step however many events it has counted.
    return sum(NODE_WORK + sum(evidence.count for evidence in node.evidence if evidence.entries) for node in tree.walk())


def _next_change_ms(tree: ExplainedNode) -> int:
    return min(node.next_change_ms for node in tree.walk())


def _with_flips(tree: ExplainedNode, later: ExplainedNode, at_ms: int) -> ExplainedNode:
    """Return the tree of now with `flips_at_ms` set where the answer is another one at `at_ms`. Both trees have the same nodes."""
    children = tuple(
        _with_flips(child, later_child, at_ms) for child, later_child in zip(tree.children, later.children, strict=True)
    )
    # The first change counts: a node that has turned already keeps its instant.
    has_flipped = tree.flips_at_ms == NEVER and tree.holds is not None and tree.holds is not later.holds
    return replace(tree, children=children, flips_at_ms=at_ms if has_flipped else tree.flips_at_ms)
