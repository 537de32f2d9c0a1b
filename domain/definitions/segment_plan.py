"""From definitions to the compiled plan of segments. The segment language knows specs alone; only this module knows both sides."""

from collections.abc import Iterable

from domain.definitions.kinds import AnyDefinition, ComputedTrait, Segment, SegmentList
from domain.segments.plan import SegmentPlan


def segment_plan_of(definitions: Iterable[AnyDefinition]) -> SegmentPlan:
    """Compile the segments, computed traits and lists among `definitions`; other kinds are ignored.

    Raises CyclicSegments when segments refer to each other in a circle, or over too many steps.
    """
    definition_list = list(definitions)
    return SegmentPlan(
        segments={item.metadata.name: item.spec for item in definition_list if isinstance(item, Segment)},
        computed={item.metadata.name: item.spec for item in definition_list if isinstance(item, ComputedTrait)},
        lists={item.metadata.name: frozenset(item.spec.nodes) for item in definition_list if isinstance(item, SegmentList)},
    )
