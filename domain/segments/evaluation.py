"""What a profile's computed traits and segments come to now: only what a change can concern is looked at. Pure."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

from domain.profiles.membership import Membership
from domain.segments.plan import SegmentPlan
from domain.segments.profile_facts import ProfileFacts
from domain.segments.tree import MembershipResult
from schemas.instants import NEVER

COMPUTED = "computed."


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All computed traits with a value, what is due when, and the verdicts on the segments that were looked at.

    `complete` says that all segments were: the profile is in no other, and whatever else it was in is defined no more.
    `approximate` are those, and the computed traits, that looked at a register too small for all that they ask about. `by_time`
    were looked at only because they were due, so whatever turned there turned by itself.
    """

    computed: dict[str, Any]
    due: dict[str, int]
    members: dict[str, bool]
    complete: bool
    approximate: tuple[str, ...] = ()
    by_time: frozenset[str] = frozenset()

    @property
    def next_ms(self) -> int | None:
        """When something changes by itself."""
        return min(self.due.values(), default=None)


def evaluate_profile(
    plan: SegmentPlan, before: Membership, facts: ProfileFacts, changed: Collection[str] | None, now_ms: int
) -> Evaluation:
    """Evaluate what `changed` concerns (None: all), what is due, and all of it when the definitions are others than before."""
    complete = changed is None or before.plan_fingerprint != plan.fingerprint
    computed, due = (dict(plan.blank_computed), {}) if complete else (dict(before.computed), dict(before.next_change_ms))
    by_time: frozenset[str] = frozenset()
    if changed is None or complete:
        computed_names, names = plan.affected_by_facts(facts)
    else:
        computed_names, names = plan.affected_by(changed)
        overdue = [name for name, at_ms in due.items() if at_ms <= now_ms]
        computed_names |= {name.removeprefix(COMPUTED) for name in overdue if name.startswith(COMPUTED)}
        by_time = frozenset(name for name in overdue if not name.startswith(COMPUTED)) - names
        names |= by_time
    approximate: list[str] = []
    for name, result in plan.evaluate_computed(facts, now_ms, computed_names).items():
        if result.is_approximate:
            approximate.append(COMPUTED + name)
        if not _same(result.value, computed.get(name)):
            names |= plan.segments_using_computed((name,))
        computed.pop(name, None)
        if result.value is not None:
            computed[name] = result.value
        _set_due(due, COMPUTED + name, result.next_change_ms)
    earlier = plan.blank_results if complete else dict(_earlier_verdicts(before, due))
    verdicts = plan.evaluate(replace(facts, computed=computed), now_ms, names, earlier)
    for name, verdict in verdicts.items():
        _set_due(due, name, verdict.next_change_ms)
        if verdict.is_approximate:
            approximate.append(name)
    members = {name: verdict.is_member for name, verdict in verdicts.items()}
    if complete:
        blank_names = (plan.blank_results.keys() & before.segments.keys()) | plan.blank_members
        members = {name: plan.blank_results[name].is_member for name in blank_names} | members
    return Evaluation(computed, due, members, complete, tuple(approximate), by_time)


def _same(first: Any, second: Any) -> bool:
    """Whether two values are equal and of one kind: to Python 1 is True, to a segment it is not."""
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(_same, first, second))
    return type(first) is type(second) and bool(first == second)


def _set_due(due: dict[str, int], name: str, at_ms: int) -> None:
    due.pop(name, None)
    if at_ms < NEVER:
        due[name] = at_ms


def _earlier_verdicts(before: Membership, due: dict[str, int]) -> Iterator[tuple[str, MembershipResult]]:
    for name in before.segments.keys() | due.keys():
        if not name.startswith(COMPUTED):
            state = before.segments.get(name)
            yield name, MembershipResult(state is not None and state.member, due.get(name, NEVER))
