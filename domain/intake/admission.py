"""What becomes of an event once it was parsed: enriched as its source wants, then held against its source's tracking plan.

The collector and the accept agent use the same, so an event is the same by whatever way it came.
"""

from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from domain.definitions.kinds import AnyDefinition, Source, TrackingPlan
from domain.intake.enrichment.enrich import DEFAULT_ENRICHMENT, EnrichSpec, enrich
from domain.intake.enrichment.geoip import cached_locator
from domain.intake.enrichment.types import GeoRecordLookup
from domain.intake.parse import Rejection
from domain.intake.tracking_plan_check import RULE_DESCRIPTIONS, CompiledPlan, PlanCheck, metric_path
from schemas.events import Event
from schemas.reasons import Reason

ViolationCounter = Callable[[str, str, str, str], None]
"""(source, event, path, rule) of a violation. All four are bounded by the definitions."""
UNPLANNED_EVENT: Final = "*"


def count_nothing(source: str, event: str, path: str, rule: str) -> None:
    """Counts nothing."""


class Admission:
    """Decides with the definitions that it was last given; before, every event is enriched and no plan holds."""

    def __init__(self, geo_lookup: GeoRecordLookup | None = None, count_violation: ViolationCounter = count_nothing) -> None:
        self._locate, self._count_violation = None if geo_lookup is None else cached_locator(geo_lookup), count_violation
        self._enrich_by_source: dict[str, EnrichSpec] = {}
        self._plan_by_source: dict[str, CompiledPlan] = {}

    def replace_all(self, definitions: Iterable[AnyDefinition]) -> None:
        """Use these and no others. Of two plans for one source the first by name holds."""
        enrich_by_source: dict[str, EnrichSpec] = {}
        plan_by_source: dict[str, CompiledPlan] = {}
        for definition in sorted(definitions, key=lambda item: item.key):
            if isinstance(definition, Source):
                enrich_by_source[definition.metadata.name] = definition.spec.enrich
            elif isinstance(definition, TrackingPlan):
                compiled = CompiledPlan(definition.metadata.name, definition.spec)
                for source in definition.sources:
                    plan_by_source.setdefault(source, compiled)
        self._enrich_by_source, self._plan_by_source = enrich_by_source, plan_by_source

    def admit(self, event: Event) -> Event | Rejection:
        """The event as it goes on, or why its plan does not let it."""
        enriched = enrich(event, self._enrich_by_source.get(event.source, DEFAULT_ENRICHMENT), self._locate)
        plan = self._plan_by_source.get(event.source)
        if plan is None:
            return enriched
        plan_check = plan.check(enriched)
        return self._apply_mode(enriched, plan, plan_check) if plan_check.violations else enriched

    def _apply_mode(self, event: Event, plan: CompiledPlan, plan_check: PlanCheck) -> Event | Rejection:
        label = event.label if plan.has_event(event.label) else UNPLANNED_EVENT
        for violation in plan_check.violations:
            self._count_violation(event.source, label, metric_path(violation), violation.rule)
        if plan.mode == "observe":
            return msgspec.structs.replace(event, observed=plan_check.violations)
        blocking = plan_check.blocking
        if plan.mode == "block" and blocking is not None:
            detail = f"{RULE_DESCRIPTIONS[blocking.rule]} ({blocking.rule}{', ' + blocking.kind if blocking.kind else ''})"
            return Rejection(Reason.PLAN_VIOLATION, detail, blocking.path)
        return msgspec.structs.replace(event, violations=plan_check.violations)
