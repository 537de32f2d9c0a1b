"""Definitions checked against each other, and compared with those that are live. Pure."""

from collections.abc import Iterable, Mapping

from domain.definitions.kinds import Definition, TrackingPlan
from domain.definitions.references import find_undefined
from domain.definitions.segment_plan import segment_plan_of
from domain.segments.plan import CyclicSegments


def find_inconsistencies(requested: Mapping[str, Definition], live: Mapping[str, Definition]) -> list[str]:
    """Return a sentence for each fault of the definitions that would be live together; the requested ones replace live ones.

    Faults are names of segments, lists and computed traits that nothing defines, segments that name each other in a circle,
    and tracking plans for the same source. Both are by key.
    """
    combined = {**live, **requested}
    faults = find_undefined(combined, combined)
    faults += _sources_with_two_plans(definition for definition in combined.values() if isinstance(definition, TrackingPlan))
    try:
        segment_plan_of(combined.values())
    except CyclicSegments as error:
        faults.append(str(error))
    return faults


def _sources_with_two_plans(plans: Iterable[TrackingPlan]) -> list[str]:
    """Return a fault for each source that has two tracking plans."""
    by_source: dict[str, list[str]] = {}
    for plan in plans:
        for source in set(plan.sources):
            by_source.setdefault(source, []).append(plan.key)
    return [
        f"{' and '.join(sorted(keys))}: both check the source {source}: keep it in one of them"
        for source, keys in sorted(by_source.items())
        if len(keys) > 1
    ]


def classify_changes(requested: Iterable[Definition], live: Mapping[str, Definition]) -> dict[str, str]:
    """Return by key whether applying a definition would `create` it, `change` it, or leave it `unchanged`."""
    return {
        definition.key: "create" if definition.key not in live else "unchanged" if live[definition.key] == definition else "change"
        for definition in requested
    }
