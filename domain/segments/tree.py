"""A segment compiled: a function of facts and an instant. Pure.

A node's next change is the earliest instant at which it could change, so a false `all` sleeps until the last of its false children
may turn, and a true `any` until the last of its true ones: most segments need no timer for most profiles.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from domain.fields import StrictModel
from domain.segments.evaluate import EVALUATORS
from domain.segments.evaluate_sequence import evaluate_sequence
from domain.segments.language import (
    AllOf,
    AnyOf,
    EveryoneCondition,
    FirstCondition,
    InListCondition,
    InSegmentCondition,
    LastCondition,
    Node,
    Not,
    SequenceCondition,
)
from domain.segments.leaf_registers import occurrence_register, registers_for
from domain.segments.profile_facts import LeafResult, ProfileFacts
from domain.segments.registers import Register
from schemas.instants import NEVER


class MembershipResult(msgspec.Struct, frozen=True):
    """Whether a profile is in a segment, and the next instant at which that can change by time alone (NEVER if it cannot).

    `is_approximate`: a register was too small for all that one of its leaves asks about.
    """

    is_member: bool
    next_change_ms: int
    is_approximate: bool = False


NOT_A_MEMBER: Final = MembershipResult(is_member=False, next_change_ms=NEVER)
MembershipResults = Mapping[str, MembershipResult]
CompiledTree = Callable[[ProfileFacts, int, MembershipResults], MembershipResult]
CompiledLeaf = Callable[[ProfileFacts, int], LeafResult]


def leaf_of(node: Node) -> Any:
    """What a leaf's keyword holds."""
    return getattr(node, next(iter(type(node).model_fields)))


def registers_of(node: Node) -> Sequence[Register]:
    """The registers that a node itself needs."""
    if isinstance(node, FirstCondition):
        return (occurrence_register(node.first, "oldest"),)
    if isinstance(node, LastCondition):
        return (occurrence_register(node.last, "newest"),)
    leaf = leaf_of(node)
    return registers_for(leaf) if isinstance(leaf, StrictModel) else ()


def compile_leaf(node: Node, registers: Mapping[str, Register], lists: Mapping[str, frozenset[str]]) -> CompiledLeaf:
    """How a leaf (none of `all`, `any`, `not`, `in_segment`) is evaluated. `registers` are those of the whole plan, by key."""
    if isinstance(node, EveryoneCondition):
        return lambda _facts, _now_ms: LeafResult(value=True, holds=True)
    if isinstance(node, InListCondition):
        listed_nodes = lists.get(node.list, frozenset())
        return lambda facts, _now_ms: LeafResult(None, not listed_nodes.isdisjoint(facts.nodes))
    leaf, required_registers = leaf_of(node), tuple(registers[register.key] for register in registers_of(node))
    evaluate = evaluate_sequence if isinstance(node, SequenceCondition) else EVALUATORS[type(leaf)]
    if not required_registers:
        return lambda facts, now_ms: evaluate(leaf, required_registers, facts, now_ms)
    keys, blank_result = [register.key for register in required_registers], evaluate(leaf, required_registers, ProfileFacts(), 0)

    def answer(facts: ProfileFacts, now_ms: int) -> LeafResult:
        for key in keys:
            if key in facts.register_entries or key in facts.tallies:
                return evaluate(leaf, required_registers, facts, now_ms)
        return blank_result

    return answer


def compile_tree(node: Node, registers: Mapping[str, Register], lists: Mapping[str, frozenset[str]]) -> CompiledTree:
    """The function of a tree. Its third argument are the verdicts of the segments before it."""
    if isinstance(node, InSegmentCondition):
        name = node.in_segment
        return lambda _facts, _now_ms, earlier: earlier.get(name, NOT_A_MEMBER)
    if isinstance(node, Not):
        negated_child = compile_tree(node.not_, registers, lists)

        def negated(facts: ProfileFacts, now_ms: int, earlier: MembershipResults) -> MembershipResult:
            result = negated_child(facts, now_ms, earlier)
            return MembershipResult(not result.is_member, result.next_change_ms, result.is_approximate)

        return negated
    if isinstance(node, AllOf | AnyOf):
        children = [compile_tree(child, registers, lists) for child in (node.all if isinstance(node, AllOf) else node.any)]
        return _compile_branch(children, settling_value=isinstance(node, AnyOf))
    evaluate_leaf = compile_leaf(node, registers, lists)

    def leaf(facts: ProfileFacts, now_ms: int, _earlier: MembershipResults) -> MembershipResult:
        result = evaluate_leaf(facts, now_ms)
        return MembershipResult(result.holds, result.next_change_ms, result.is_approximate)

    return leaf


def _compile_branch(children: Sequence[CompiledTree], *, settling_value: bool) -> CompiledTree:
    """`any` (one true child settles it) or `all` (one false child does)."""

    def evaluate_branch(facts: ProfileFacts, now_ms: int, earlier: MembershipResults) -> MembershipResult:
        next_change_ms, settled_until_ms, is_approximate = NEVER, -1, False
        for child in children:
            result = child(facts, now_ms, earlier)
            if result.is_approximate:
                is_approximate = True
            at_ms = result.next_change_ms
            if result.is_member is settling_value:
                if at_ms == NEVER:
                    return MembershipResult(settling_value, NEVER, is_approximate)
                if at_ms > settled_until_ms:
                    settled_until_ms = at_ms
            if at_ms < next_change_ms:
                next_change_ms = at_ms
        return (
            MembershipResult(settling_value, settled_until_ms, is_approximate)
            if settled_until_ms >= 0
            else MembershipResult(not settling_value, next_change_ms, is_approximate)
        )

    return evaluate_branch
