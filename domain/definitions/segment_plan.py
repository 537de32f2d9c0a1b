"""From definitions to the compiled plan of segments. The segment language knows specs alone; only this module knows both sides."""

from collections.abc import Iterable, Iterator

from domain.definitions.kinds import AnyDefinition, ComputedTrait, IdentityRules, Segment, SegmentList
from domain.segments.plan import SegmentPlan
from domain.segments.retained_names import names_on_paths


def segment_plan_of(definitions: Iterable[AnyDefinition]) -> SegmentPlan:
    """Compile the segments, computed traits and lists among `definitions`, with the traits that identity rules read.

    Raises CyclicSegments when segments refer to each other in a circle, or over too many steps.
    """
    definition_list = list(definitions)
    return SegmentPlan(
        segments={item.metadata.name: item.spec for item in definition_list if isinstance(item, Segment)},
        computed={item.metadata.name: item.spec for item in definition_list if isinstance(item, ComputedTrait)},
        lists={item.metadata.name: frozenset(item.spec.nodes) for item in definition_list if isinstance(item, SegmentList)},
        traits=names_on_paths(
            path for item in definition_list if isinstance(item, IdentityRules) for path in _household_traits(item)
        ),
    )


def _household_traits(rules: IdentityRules) -> Iterator[str]:
    household = rules.spec.household
    if household is not None:
        yield from household.shared_traits
        yield from filter(None, (household.id_trait, household.address_trait))
