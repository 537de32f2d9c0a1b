"""Evaluate one profile after a change or when something is due: only the traits and segments that can have changed. Pure.

Why: a profile has thousands of segments and an event concerns a few. The stored membership document (`before`) has the
results of the last evaluation and, in `due`, the instant at which each of them can change by time. The invariant: the
result equals an evaluation of everything from nothing at `now_ms`. It holds because each name is in one of three sets:
it is affected by the change, or it is overdue, or neither its inputs changed nor its instant came, so its last result
still stands ("Time passes by itself").

An example: segment `recent` = "did Viewed within 1h", entered at 10:00, due at 11:00. An event `Bought` at 10:30 does
not concern it, so it is not evaluated and stays a member. A timer at 11:00 finds it overdue: it is evaluated and leaves.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

from domain.profiles.membership import Membership
from domain.segments.plan import SegmentPlan
from domain.segments.profile_facts import COMPUTED_PREFIX, ProfileFacts
from domain.segments.tree import MembershipResult
from schemas.instants import NEVER


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The result of evaluating one profile.

    `computed` are all computed traits that have a value. `due` is the next instant (ms) at which each result can change
    by time, for those that can. `members` says for each segment that was evaluated whether the profile is in it.
    `complete` says that `members` is exhaustive: the profile is in no other segment, and any other segment that it was
    in is no longer defined. `approximate` names the segments and computed traits whose register was too small for their
    question.
    """

    computed: dict[str, Any]
    due: dict[str, int]
    members: dict[str, bool]
    complete: bool
    approximate: tuple[str, ...] = ()

    @property
    def next_ms(self) -> int | None:
        """The earliest instant (ms) at which something can change by time, for the profile's one timer; None when nothing can."""
        return min(self.due.values(), default=None)


def evaluate_profile(
    plan: SegmentPlan, before: Membership, facts: ProfileFacts, changed: Collection[str] | None, now_ms: int
) -> Evaluation:
    """Evaluate the traits and segments that `changed` can affect and those that are due.

    Everything is evaluated when the definitions are not those of the last evaluation.

    `changed` are event labels, trait change keys and NAMESPACES_CHANGED; None means that anything may have changed.
    """
    # Results of another plan cannot be carried over: names, versions and registers may all differ.
    complete = changed is None or before.plan_fingerprint != plan.fingerprint
    computed, due = (dict(plan.blank_computed), {}) if complete else (dict(before.computed), dict(before.next_change_ms))
    if changed is None or complete:
        # Segments that none of the facts concern have their blank results, which were computed once for the plan.
        computed_names, names = plan.affected_by_facts(facts)
    else:
        computed_names, names = plan.affected_by(changed)
        overdue = [name for name, at_ms in due.items() if at_ms <= now_ms]
        computed_names |= {name.removeprefix(COMPUTED_PREFIX) for name in overdue if name.startswith(COMPUTED_PREFIX)}
        names |= {name for name in overdue if not name.startswith(COMPUTED_PREFIX)}
    # Computed traits first: a segment reads the values of now, and a value that stayed the same wakes no segment.
    approximate: list[str] = []
    for name, trait in plan.evaluate_computed(facts, now_ms, computed_names).items():
        if trait.is_approximate:
            approximate.append(COMPUTED_PREFIX + name)
        if not _same(trait.value, computed.get(name)):
            names |= plan.segments_using_computed((name,))
        computed.pop(name, None)
        if trait.value is not None:
            computed[name] = trait.value
        _set_due(due, COMPUTED_PREFIX + name, trait.next_change_ms)
    # `earlier` is what `in_segment` reads for segments that are not evaluated now.
    earlier = plan.blank_results if complete else dict(_earlier_results(before, due))
    results = plan.evaluate(replace(facts, computed=computed), now_ms, names, earlier)
    for name, result in results.items():
        _set_due(due, name, result.next_change_ms)
        if result.is_approximate:
            approximate.append(name)
    members = {name: result.is_member for name, result in results.items()}
    if complete:
        blank_names = (plan.blank_results.keys() & before.segments.keys()) | plan.blank_members
        members = {name: plan.blank_results[name].is_member for name in blank_names} | members
    return Evaluation(computed, due, members, complete, tuple(approximate))


def _same(first: Any, second: Any) -> bool:
    """Return whether two values are equal and of the same kind: 1 equals True in Python, but not in a segment."""
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(_same, first, second))
    return type(first) is type(second) and bool(first == second)


def _set_due(due: dict[str, int], name: str, at_ms: int) -> None:
    due.pop(name, None)
    if at_ms < NEVER:
        due[name] = at_ms


def _earlier_results(before: Membership, due: dict[str, int]) -> Iterator[tuple[str, MembershipResult]]:
    for name in before.segments.keys() | due.keys():
        if not name.startswith(COMPUTED_PREFIX):
            state = before.segments.get(name)
            yield name, MembershipResult(state is not None and state.member, due.get(name, NEVER))
