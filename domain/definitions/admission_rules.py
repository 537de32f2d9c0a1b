"""Collect from the definitions what admission needs to know of each source. Pure."""

from collections.abc import Iterable

from domain.definitions.kinds import AnyDefinition, Source, TrackingPlan
from domain.intake.admission import AdmissionRules
from domain.intake.enrichment.spec import EnrichSpec
from domain.intake.tracking_plan_check import CompiledPlan
from domain.intake.trust import SERVER_SOURCE, Trust


def admission_rules(definitions: Iterable[AnyDefinition]) -> AdmissionRules:
    """Return the rules of these definitions. Of two plans for one source the first by name counts."""
    enrich_by_source: dict[str, EnrichSpec] = {}
    plan_by_source: dict[str, CompiledPlan] = {}
    for definition in sorted(definitions, key=lambda item: item.key):
        if isinstance(definition, Source):
            enrich_by_source[definition.metadata.name] = definition.spec.enrich
        elif isinstance(definition, TrackingPlan):
            compiled = CompiledPlan(definition.metadata.name, definition.spec)
            for source in definition.sources:
                plan_by_source.setdefault(source, compiled)
    return AdmissionRules(enrich_by_source, plan_by_source)


def touchpoint_sources(sources: Iterable[Source]) -> dict[str, Trust]:
    """Return the sources that a record of `touchpoints` may name, with their trust; the source `server` always may be named."""
    return {
        source.metadata.name: source.spec.trust
        for source in sources
        if source.spec.topic_ingress or source.metadata.name == SERVER_SOURCE
    }
