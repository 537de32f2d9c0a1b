"""Enrich a parsed event as its source asks for, then check it against the tracking plan of its source.

The collector, the accept agent and the replay of the quarantine use the same code, so an event is the same whichever way it came.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

from domain.intake.enrichment.enrich import enrich
from domain.intake.enrichment.geoip import cached_locator
from domain.intake.enrichment.spec import DEFAULT_ENRICHMENT, EnrichSpec
from domain.intake.enrichment.types import GeoRecordLookup
from domain.intake.rejection import Rejection
from domain.intake.tracking_plan_check import RULE_DESCRIPTIONS, CompiledPlan, PlanCheck, metric_path
from schemas.events import Event
from schemas.reasons import Reason

ViolationCounter = Callable[[str, str, str, str], None]
"""Called with (source, event, path, rule) of each violation. The definitions bound how many different values each has."""
UNPLANNED_EVENT: Final = "*"
"""The label of all events that a plan does not name: clients make up their names, so their number has no bound."""


def count_nothing(source: str, event: str, path: str, rule: str) -> None:
    """Ignore a violation."""


@dataclass(frozen=True, slots=True)
class AdmissionRules:
    """What the definitions ask for, by the name of the source. A source that is not named is enriched and has no plan."""

    enrich_by_source: Mapping[str, EnrichSpec] = field(default_factory=dict)
    plan_by_source: Mapping[str, CompiledPlan] = field(default_factory=dict)


class Admission:
    """Admits events by the rules that it was last given. Until then it enriches every event and checks no plan."""

    def __init__(self, geo_lookup: GeoRecordLookup | None = None, count_violation: ViolationCounter = count_nothing) -> None:
        self._locate = None if geo_lookup is None else cached_locator(geo_lookup)
        self._count_violation = count_violation
        self._rules = AdmissionRules()

    def replace_rules(self, rules: AdmissionRules) -> None:
        """Admit events by `rules` from now on."""
        self._rules = rules

    def admit(self, event: Event) -> Event | Rejection:
        """Return the enriched event, or the rejection if its plan blocks it."""
        enriched = enrich(event, self._rules.enrich_by_source.get(event.source, DEFAULT_ENRICHMENT), self._locate)
        plan = self._rules.plan_by_source.get(event.source)
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
