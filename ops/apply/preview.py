"""What definitions would do, before they are live: how large segments would be, who would enter and leave, what they keep."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from ops.apply.plan_changes import compare
from ops.apply.backfill_history import History
from domain.segments.register_bounds import Bound, bounds
from domain.definitions.kinds import AnyDefinition
from domain.segments.plan import Plan

SAMPLE: Final = 10


@dataclass(frozen=True, slots=True)
class Size:
    """Of one segment: how many profiles are in it now and would be in it, how many would enter and leave, some that would enter."""

    segment: str
    before: int
    now: int
    entering: int
    leaving: int
    sample: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Planned:
    """What would be done: `changes` by key, the segments that would be computed, and what those and new computed traits keep."""

    changes: Mapping[str, str]
    segments: tuple[Size, ...] = ()
    bounds: tuple[Bound, ...] = field(default=())


async def planned(
    known: Mapping[str, AnyDefinition], wanted: Iterable[AnyDefinition], changes: Mapping[str, str], history: History, now_ms: int
) -> Planned:
    """Compute by SQL, over the events that ClickHouse has; nothing is changed."""
    before, after = Plan(known.values()), Plan({**known, **{one.key: one for one in wanted}}.values())
    found = compare(before, after)
    sizes = tuple([await size(history, after, name, now_ms) for name in found.segments])
    return Planned(changes, sizes, kept(before, after))


def kept(before: Plan, after: Plan) -> tuple[Bound, ...]:
    """What the segments and computed traits that are others by the new definitions keep at most."""
    found = compare(before, after)
    owners = {*found.segments, *(f"computed.{name}" for name in found.computed)}
    return tuple(one for one in bounds(after) if one.owner in owners)


async def size(history: History, plan: Plan, name: str, at_ms: int) -> Size:
    """One segment by SQL, against what was said of it."""
    members, shown = await history.members(plan, name, at_ms), await history.shown(name)
    entering = members - shown
    return Size(name, len(shown), len(members), len(entering), len(shown - members), tuple(sorted(entering)[:SAMPLE]))
