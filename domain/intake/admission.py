"""What becomes of an event once it was parsed: enriched as its source wants, then held against its source's tracking plan.

The collector and the accept agent use the same, so an event is the same by whatever way it came.
"""

from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from domain.intake.enrichment.enrich import DEFAULT, EnrichSpec, enrich
from domain.intake.enrichment.geoip import locating
from domain.intake.enrichment.types import RecordOf
from schemas.events import Event
from domain.intake.parse import Rejected
from schemas.reasons import Reason
from domain.definitions.kinds import AnyDefinition, Source, TrackingPlan
from domain.intake.tracking_plan_check import (ABOUT, CompiledPlan, Verdict, counted_path)

Noted = Callable[[str, str, str, str], None]
"""(source, event, path, rule) of a violation. All four are bounded by the definitions."""
NO_NAME: Final = "*"


def unnoted(source: str, event: str, path: str, rule: str) -> None:
    """Counts nothing."""


class Admission:
    """Decides with the definitions that it was last given; before, every event is enriched and no plan holds."""

    def __init__(self, record_of: RecordOf | None = None, noted: Noted = unnoted) -> None:
        self._locate, self._noted = None if record_of is None else locating(record_of), noted
        self._enrich: dict[str, EnrichSpec] = {}
        self._plans: dict[str, CompiledPlan] = {}

    def become(self, definitions: Iterable[AnyDefinition]) -> None:
        """Use these and no others. Of two plans for one source the first by name holds."""
        enriching: dict[str, EnrichSpec] = {}
        plans: dict[str, CompiledPlan] = {}
        for definition in sorted(definitions, key=lambda held: held.key):
            if isinstance(definition, Source):
                enriching[definition.metadata.name] = definition.spec.enrich
            elif isinstance(definition, TrackingPlan):
                compiled = CompiledPlan(definition.metadata.name, definition.spec)
                for source in definition.sources:
                    plans.setdefault(source, compiled)
        self._enrich, self._plans = enriching, plans

    def admit(self, event: Event) -> Event | Rejected:
        """The event as it goes on, or why its plan does not let it."""
        full = enrich(event, self._enrich.get(event.source, DEFAULT), self._locate)
        plan = self._plans.get(event.source)
        if plan is None:
            return full
        verdict = plan.check(full)
        return self._decided(full, plan, verdict) if verdict.violations else full

    def _decided(self, event: Event, plan: CompiledPlan, verdict: Verdict) -> Event | Rejected:
        label = event.label if plan.knows(event.label) else NO_NAME
        for violation in verdict.violations:
            self._noted(event.source, label, counted_path(violation), violation.rule)
        if plan.mode == "observe":
            return msgspec.structs.replace(event, observed=verdict.violations)
        blocking = verdict.blocking
        if plan.mode == "block" and blocking is not None:
            detail = f"{ABOUT[blocking.rule]} ({blocking.rule}{', ' + blocking.kind if blocking.kind else ''})"
            return Rejected(Reason.PLAN_VIOLATION, detail, blocking.path)
        return msgspec.structs.replace(event, violations=verdict.violations)
