"""A segment compiled: a function of facts and an instant. Pure.

A node's next change is the earliest instant at which it could change, so a false `all` sleeps until the last of its false children
may turn, and a true `any` until the last of its true ones: most segments need no timer for most profiles.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from domain.fields import Strict
from domain.segments.comparisons import NEVER
from domain.segments.evaluate import EVALUATORS
from domain.segments.profile_facts import Answer, Facts
from domain.segments.language import (AllOf, AnyOf, Everyone, First, InList, InSegment, Last, Node, Not)
from domain.segments.language import Sequence as SequenceNode
from domain.segments.leaf_registers import needs, occurrence
from domain.segments.registers import Register
from domain.segments.evaluate_sequence import sequence


class Verdict(msgspec.Struct, frozen=True):
    """Whether a profile is in a segment, and the next instant at which that can change by time alone (NEVER if it cannot).

    `approximate`: a register was too small for all that one of its leaves asks about.
    """

    member: bool
    next_change_ms: int
    approximate: bool = False


OUT: Final = Verdict(member=False, next_change_ms=NEVER)
Verdicts = Mapping[str, Verdict]
Compiled = Callable[[Facts, int, Verdicts], Verdict]
AnswerOf = Callable[[Facts, int], Answer]


def leaf_of(node: Node) -> Any:
    """What a leaf's keyword holds."""
    return getattr(node, next(iter(type(node).model_fields)))


def registers_of(node: Node) -> Sequence[Register]:
    """The registers that a node itself needs."""
    if isinstance(node, First):
        return (occurrence(node.first, "oldest"),)
    if isinstance(node, Last):
        return (occurrence(node.last, "newest"),)
    leaf = leaf_of(node)
    return needs(leaf) if isinstance(leaf, Strict) else ()


def answers(node: Node, registers: Mapping[str, Register], lists: Mapping[str, frozenset[str]]) -> AnswerOf:
    """How a leaf (none of `all`, `any`, `not`, `in_segment`) is evaluated. `registers` are those of the whole plan, by key."""
    if isinstance(node, Everyone):
        return lambda _facts, _now_ms: Answer(value=True, holds=True)
    if isinstance(node, InList):
        listed = lists.get(node.list, frozenset())
        return lambda facts, _now_ms: Answer(None, not listed.isdisjoint(facts.nodes))
    leaf, needed = leaf_of(node), tuple(registers[register.key] for register in registers_of(node))
    evaluate = sequence if isinstance(node, SequenceNode) else EVALUATORS[type(leaf)]
    if not needed:
        return lambda facts, now_ms: evaluate(leaf, needed, facts, now_ms)
    keys, blank = [register.key for register in needed], evaluate(leaf, needed, Facts(), 0)

    def answer(facts: Facts, now_ms: int) -> Answer:
        for key in keys:
            if key in facts.kept or key in facts.tallies:
                return evaluate(leaf, needed, facts, now_ms)
        return blank

    return answer


def compiled(node: Node, registers: Mapping[str, Register], lists: Mapping[str, frozenset[str]]) -> Compiled:
    """The function of a tree. Its third argument are the verdicts of the segments before it."""
    if isinstance(node, InSegment):
        name = node.in_segment
        return lambda _facts, _now_ms, earlier: earlier.get(name, OUT)
    if isinstance(node, Not):
        inner = compiled(node.not_, registers, lists)

        def negated(facts: Facts, now_ms: int, earlier: Verdicts) -> Verdict:
            verdict = inner(facts, now_ms, earlier)
            return Verdict(not verdict.member, verdict.next_change_ms, verdict.approximate)

        return negated
    if isinstance(node, AllOf | AnyOf):
        children = [compiled(child, registers, lists) for child in (node.all if isinstance(node, AllOf) else node.any)]
        return _joined(children, settles=isinstance(node, AnyOf))
    answer = answers(node, registers, lists)

    def leaf(facts: Facts, now_ms: int, _earlier: Verdicts) -> Verdict:
        found = answer(facts, now_ms)
        return Verdict(found.holds, found.next_ms, found.approximate)

    return leaf


def _joined(children: Sequence[Compiled], *, settles: bool) -> Compiled:
    """`any` (one true child settles it) or `all` (one false child does)."""

    def joined(facts: Facts, now_ms: int, earlier: Verdicts) -> Verdict:
        soonest, settled, approximate = NEVER, -1, False
        for child in children:
            verdict = child(facts, now_ms, earlier)
            if verdict.approximate:
                approximate = True
            at_ms = verdict.next_change_ms
            if verdict.member is settles:
                if at_ms == NEVER:
                    return Verdict(settles, NEVER, approximate)
                if at_ms > settled:
                    settled = at_ms
            if at_ms < soonest:
                soonest = at_ms
        return Verdict(settles, settled, approximate) if settled >= 0 else Verdict(not settles, soonest, approximate)

    return joined
