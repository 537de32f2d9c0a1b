"""The preview of an apply: how large segments would be, who would enter and leave, and what the definitions would store."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from domain.definitions.kinds import AnyDefinition
from domain.definitions.segment_plan import segment_plan_of
from domain.segments.plan import SegmentPlan
from domain.segments.plan_changes import compare_plans
from domain.segments.register_bounds import RegisterBound, register_bounds
from ops.apply.backfill_history import BackfillHistory

SAMPLE: Final = 10


@dataclass(frozen=True, slots=True)
class SegmentSize:
    """The change of one segment: how many profiles are in it and would be in it, how many would enter and leave.

    `sample` are some of those that would enter.
    """

    segment: str
    before: int
    after: int
    entering: int
    leaving: int
    sample: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ApplyPreview:
    """The outcome that an apply would have.

    `changes` are by key. `segments` are those that would be computed. `bounds` are what these and new computed traits store
    at most. `warnings` are sentences about what would stop working.
    """

    changes: Mapping[str, str]
    segments: tuple[SegmentSize, ...] = ()
    bounds: tuple[RegisterBound, ...] = field(default=())
    warnings: tuple[str, ...] = ()


async def preview_apply(
    live: Mapping[str, AnyDefinition],
    requested: Iterable[AnyDefinition],
    changes: Mapping[str, str],
    history: BackfillHistory,
    now_ms: int,
) -> ApplyPreview:
    """Compute the preview by SQL, over the events that ClickHouse has; nothing is changed.

    Raises Transient when ClickHouse does not answer.
    """
    before, after = (
        segment_plan_of(live.values()),
        segment_plan_of({**live, **{definition.key: definition for definition in requested}}.values()),
    )
    plan_changes = compare_plans(before, after)
    sizes = tuple([await measure_segment(history, after, name, now_ms) for name in plan_changes.segments])
    return ApplyPreview(changes, sizes, changed_bounds(before, after))


def changed_bounds(before: SegmentPlan, after: SegmentPlan) -> tuple[RegisterBound, ...]:
    """Return the bounds of the segments and computed traits that differ between two plans."""
    plan_changes = compare_plans(before, after)
    owners = {*plan_changes.segments, *(f"computed.{name}" for name in plan_changes.computed)}
    return tuple(bound for bound in register_bounds(after) if bound.owner in owners)


async def measure_segment(history: BackfillHistory, plan: SegmentPlan, name: str, at_ms: int) -> SegmentSize:
    """Compare the members of one segment by SQL with the members that were published."""
    members, published = await history.members(plan, name, at_ms), await history.published_members(name)
    entering = members - published
    return SegmentSize(
        segment=name,
        before=len(published),
        after=len(members),
        entering=len(entering),
        leaving=len(published - members),
        sample=tuple(sorted(entering)[:SAMPLE]),
    )
