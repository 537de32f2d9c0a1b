"""Definitions checked against each other, and compared with those that are live. Pure."""

from collections.abc import Iterable, Iterator, Mapping

from domain.definitions.destinations import find_unusable_destinations
from domain.definitions.kinds import RULES_KEY, Definition, Destination, IdentityRules, SegmentList, Source, TrackingPlan
from domain.definitions.references import find_undefined
from domain.definitions.segment_plan import segment_plan_of
from domain.identity.namespaces import SHIPPED_NAMESPACES, Namespaces, unknown_namespace
from domain.segments.plan import CyclicSegments
from domain.segments.retained_names import MAX_READ_TRAITS


def find_inconsistencies(requested: Mapping[str, Definition], live: Mapping[str, Definition]) -> list[str]:
    """Return a sentence for each fault of the definitions that would be live together; the requested ones replace live ones.

    Faults are names of segments, lists, computed traits and namespaces that nothing defines, segments that name each other in a
    circle, tracking plans for the same source, other ranks or forms for namespaces that exist, and requested destinations that
    could never send. Both are by key.
    """
    combined = {**live, **requested}
    faults = find_undefined(combined, combined)
    # Other rules may drop a namespace that a live definition names.
    faults += _unknown_namespaces(combined if RULES_KEY in requested else requested, namespaces_of(combined))
    faults += _changed_namespaces(requested, live)
    faults += find_unusable_destinations(requested)
    faults += _sources_with_two_plans(definition for definition in combined.values() if isinstance(definition, TrackingPlan))
    try:
        read_traits = len(segment_plan_of(combined.values()).retained.traits)
    except CyclicSegments as error:
        faults.append(str(error))
    else:
        if read_traits > MAX_READ_TRAITS:
            faults.append(
                f"all definitions together read {read_traits} traits: {MAX_READ_TRAITS} at most, which every profile keeps"
            )
    return faults


def namespaces_of(definitions: Mapping[str, Definition]) -> Namespaces:
    """Return the shipped namespaces and those that the identity rules among the definitions declare."""
    rules = definitions.get(RULES_KEY)
    return rules.spec.all_namespaces if isinstance(rules, IdentityRules) else SHIPPED_NAMESPACES


def _unknown_namespaces(definitions: Mapping[str, Definition], namespaces: Namespaces) -> Iterator[str]:
    """Yield a fault for each namespace that a list, a destination or the mapping of a webhook names and that does not exist."""
    for key, definition in sorted(definitions.items()):
        if isinstance(definition, SegmentList) and definition.spec.namespace not in namespaces:
            yield f"{key}: spec.namespace: {unknown_namespace(definition.spec.namespace, namespaces)}"
        elif isinstance(definition, Destination):
            for name in sorted(name for name in definition.spec.identifiers if name not in namespaces):
                yield f"{key}: spec.identifiers: {unknown_namespace(name, namespaces)}"
        elif isinstance(definition, Source) and definition.spec.webhook is not None:
            rules = definition.spec.webhook.mapping.rules
            names = {name for rule in rules for event in rule.events for name in event.identifiers}
            for name in sorted(name for name in names if name not in namespaces):
                yield f"{key}: spec.webhook.mapping: {unknown_namespace(name, namespaces)}"


def _changed_namespaces(requested: Mapping[str, Definition], live: Mapping[str, Definition]) -> Iterator[str]:
    """Yield a fault for each namespace that exists and would get another rank, order as owner or form.

    Nodes, owners and spellings of past events were made by these, so the same values would be strangers to themselves.
    """
    if RULES_KEY not in requested:
        return
    before, after = namespaces_of(live).own, namespaces_of(requested).own
    for name in sorted(before.keys() & after.keys()):
        changed = (
            field for field in ("rank", "owner_order", "form") if getattr(before[name], field) != getattr(after[name], field)
        )
        # The first one alone: another rank changes the order that goes without saying.
        if (field := next(changed, None)) is not None:
            yield (
                f"{RULES_KEY}: spec.namespaces.{name}.{'normalise' if field == 'form' else field}: it is fixed once the namespace "
                "exists, because past identifiers were made by it: leave it as it was, or declare a namespace with another name"
            )


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
