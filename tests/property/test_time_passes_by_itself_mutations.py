"""The law of the stream detects mistakes: with any of these in the domain, some random history soon fails."""

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from domain.profiles import fragment, join
from domain.segments import evaluation as verdicts
from domain.segments import registers, windows
from domain.segments.leaves.aggregate import AggregateCondition
from domain.segments.leaves.calendar import CalendarCondition
from domain.segments.leaves.did import DidCondition
from domain.segments.leaves.occurrence import OccurrenceCondition
from domain.segments.leaves.regularly import RegularlyCondition
from domain.segments.plan import NAMESPACES_CHANGED, SegmentPlan
from domain.segments.profile_facts import COMPUTED_PREFIX, LeafResult
from domain.segments.registers import Register
from schemas.instants import NEVER
from schemas.records import TraitValue
from tests.support.segment_laws import SegmentWorld, check_all
from tests.support.segment_mutations import LEAVES_PACKAGE, patch_in_package

SEEDS = 150
Mutation = Callable[[pytest.MonkeyPatch], None]


def _not_concerned(forgotten: Callable[[str], bool]) -> Mutation:
    concerned = SegmentPlan.affected_by

    def mutate(patch: pytest.MonkeyPatch) -> None:
        def mutant(self: SegmentPlan, changed: Collection[str] | None) -> tuple[set[str], set[str]]:
            return concerned(self, None if changed is None else [change for change in changed if not forgotten(change)])

        patch.setattr(SegmentPlan, SegmentPlan.affected_by.__name__, mutant)

    return mutate


def _late(leaf: Any, by_ms: int) -> Mutation:
    """Make a leaf report its next change `by_ms` too late."""
    honest = leaf.evaluate

    def mutate(patch: pytest.MonkeyPatch) -> None:
        def mutant(*arguments: Any) -> LeafResult:
            answer: LeafResult = honest(*arguments)
            if answer.next_change_ms == NEVER:
                return answer
            return structs.replace(answer, next_change_ms=answer.next_change_ms + by_ms)

        patch.setattr(leaf, "evaluate", mutant)

    return mutate


def _closed_windows(patch: pytest.MonkeyPatch) -> None:
    inside = windows.entries_in_window
    patch_in_package(
        patch,
        LEAVES_PACKAGE,
        windows.entries_in_window.__name__,
        lambda entries, within, now_ms: inside(entries, None if within is None else within + 1, now_ms),
    )


def _tie_by_time_alone(patch: pytest.MonkeyPatch) -> None:
    entry = Register.entry

    def mutant(self: Register, event: Any, _tie: str) -> Any:
        return entry(self, event, "")

    patch.setattr(Register, Register.entry.__name__, mutant)


def _last_arrival_wins(patch: pytest.MonkeyPatch) -> None:
    def mutant(trait: TraitValue, current: TraitValue | None) -> bool:
        return current is None or trait.time_ms >= current.time_ms

    name = fragment.supersedes.__name__
    for module in (fragment, join):
        patch.setattr(module, name, mutant)


def _readers_of_computed_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SegmentPlan, SegmentPlan.segments_using_computed.__name__, lambda *_: set())


def _dependents_forgotten(patch: pytest.MonkeyPatch) -> None:
    index = SegmentPlan._index_changes

    def mutant(self: SegmentPlan, nodes: Any) -> None:
        index(self, nodes)
        self.dependents = {}

    patch.setattr(SegmentPlan, SegmentPlan._index_changes.__name__, mutant)


def _overdue_forgotten(patch: pytest.MonkeyPatch) -> None:
    note = verdicts._set_due

    def mutant(due: dict[str, int], name: str, at_ms: int) -> None:
        note(due, name, NEVER if name.startswith(COMPUTED_PREFIX) else at_ms)

    patch.setattr(verdicts, verdicts._set_due.__name__, mutant)


def _unbounded(patch: pytest.MonkeyPatch) -> None:
    join_states = Register.join
    patch.setattr(Register, Register.join.__name__, lambda self, parts: join_states(replace(self, capacity=10_000), parts))


def _tallies_not_added(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(join, registers.sum_tallies.__name__, lambda tallies, _keep: next(iter(tallies)))


MUTATIONS: dict[str, Mutation] = {
    "a changed trait concerns the segments that look at it": _not_concerned(lambda change: change.startswith("*trait ")),
    "an event concerns what it feeds": _not_concerned(lambda change: change == "Product Viewed"),
    "a new identifier concerns the lifecycle": _not_concerned(lambda change: change == NAMESPACES_CHANGED),
    "did changes when its window ends": _late(DidCondition, 1),
    "an aggregate changes when its window ends": _late(AggregateCondition, 1),
    "first and last change when their windows end": _late(OccurrenceCondition, 1),
    "regularly changes when a period ends": _late(RegularlyCondition, 1),
    "an anniversary begins at midnight": _late(CalendarCondition, 3_600_000),
    "a window is open where it begins": _closed_windows,
    "ties are broken by the message": _tie_by_time_alone,
    "of traits of one instant the larger id wins": _last_arrival_wins,
    "a computed trait concerns the segments that look at it": _readers_of_computed_forgotten,
    "a segment concerns those that name it": _dependents_forgotten,
    "a computed trait changes by itself": _overdue_forgotten,
    "registers are bounded": _unbounded,
    "tallies add up": _tallies_not_added,
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_each_mutation_is_detected_by_a_history(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MUTATIONS[name](monkeypatch)
    for seed in range(SEEDS):
        try:
            check_all(SegmentWorld(seed))
        except AssertionError:
            return
    pytest.fail(f"{SEEDS} histories hold without the rule: {name}")
