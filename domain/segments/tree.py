"""A segment compiled: a function of a profile's facts and an instant. Pure.

Why: membership must change on time without polling all profiles, so each evaluation also answers when it has to be
repeated. The invariant ("Time passes by itself"): with the same facts, `is_member` does not change before
`next_change_ms`.

A node's next change is the earliest instant at which *its own* answer could change, not the earliest of its children. A
false `all` stays false as long as one false child does, so it sleeps until the *last* of its false children may turn; a
true `any` sleeps until the last of its true ones. An example: `all` of "did A within 1h" (false, until NEVER unless an
event comes) and "did B within 1h" (true until 10:00) is false and sleeps until NEVER: the timer at 10:00 would find
nothing new. Most segments need no timer for most profiles because of this.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from domain.segments.language import AllOf, AnyOf, InSegmentCondition, Node, Not, children_of
from domain.segments.leaves.leaf import bind_leaf
from domain.segments.profile_facts import ProfileFacts
from domain.segments.registers import Register
from schemas.instants import NEVER


class MembershipResult(msgspec.Struct, frozen=True):
    """Whether a profile is in a segment, and the next instant at which time alone can change that (NEVER if it cannot).

    `is_approximate`: a register was too small for everything that one of the leaves asks about.
    """

    is_member: bool
    next_change_ms: int
    is_approximate: bool = False


NOT_A_MEMBER: Final = MembershipResult(is_member=False, next_change_ms=NEVER)
MembershipResults = Mapping[str, MembershipResult]
CompiledTree = Callable[[ProfileFacts, int, MembershipResults], MembershipResult]


def compile_tree(node: Node, registers: Mapping[str, Register], lists: Mapping[str, frozenset[str]]) -> CompiledTree:
    """Return the function of a tree: (facts, now_ms, earlier) -> MembershipResult.

    `earlier` are the results of the segments that this one may refer to by `in_segment`, at the same instant.
    `registers` are those of the whole plan by key, `lists` the lists by name.
    """
    if isinstance(node, InSegmentCondition):
        name = node.in_segment
        return lambda _facts, _now_ms, earlier: earlier.get(name, NOT_A_MEMBER)
    if isinstance(node, Not):
        negated_child = compile_tree(node.not_, registers, lists)

        def negated(facts: ProfileFacts, now_ms: int, earlier: MembershipResults) -> MembershipResult:
            result = negated_child(facts, now_ms, earlier)
            # Negation changes the answer, never the instant at which it changes.
            return MembershipResult(not result.is_member, result.next_change_ms, result.is_approximate)

        return negated
    if isinstance(node, AllOf | AnyOf):
        children = [compile_tree(child, registers, lists) for child in children_of(node)]
        return _compile_branch(children, settling_value=isinstance(node, AnyOf))
    evaluate_leaf = bind_leaf(node, registers, lists)

    def leaf(facts: ProfileFacts, now_ms: int, _earlier: MembershipResults) -> MembershipResult:
        result = evaluate_leaf(facts, now_ms)
        return MembershipResult(result.holds, result.next_change_ms, result.is_approximate)

    return leaf


def _compile_branch(children: Sequence[CompiledTree], *, settling_value: bool) -> CompiledTree:
    """Return the function of `any`, which one true child settles, or of `all`, which one false child settles.

    This is the innermost loop of the stream: it builds no list and stops at the first child that settles the answer for ever.
    """

    def evaluate_branch(facts: ProfileFacts, now_ms: int, earlier: MembershipResults) -> MembershipResult:
        next_change_ms, settled_until_ms, is_approximate = NEVER, -1, False
        for child in children:
            result = child(facts, now_ms, earlier)
            if result.is_approximate:
                is_approximate = True
            at_ms = result.next_change_ms
            if result.is_member is settling_value:
                if at_ms == NEVER:
                    # Nothing can come after NEVER, so the other children need not be asked.
                    return MembershipResult(settling_value, NEVER, is_approximate)
                if at_ms > settled_until_ms:
                    settled_until_ms = at_ms
            if at_ms < next_change_ms:
                next_change_ms = at_ms
        # Settled: the answer stays until the last child that settles it turns. Not settled: any child that turns settles it.
        return (
            MembershipResult(settling_value, settled_until_ms, is_approximate)
            if settled_until_ms >= 0
            else MembershipResult(not settling_value, next_change_ms, is_approximate)
        )

    return evaluate_branch
