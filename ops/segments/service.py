"""The segment service, which the command and the API share: it answers questions about one person's segments."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from domain.identity.rules import CompiledIdentityRules
from domain.segments.explain import SegmentExplainer
from domain.segments.plan import SegmentPlan
from ops.identity.references import format_instant, parse_reference
from ops.segments import profile_snapshot as person
from ops.segments.evidence_events import load_event_evidence
from ops.segments.profile_snapshot import ProfileSnapshot
from ops.segments.to_json import row_to_json, why_to_json
from profile_store.port import ProfileStore
from runtime.clock import Clock
from runtime.errors import Invalid, Transient
from runtime.settings import Settings
from warehouse.client import Warehouse


@dataclass(frozen=True, slots=True)
class SegmentService:
    """Answers why a person is in a segment.

    `plan` and `rules` return the live plan and identity rules once `definitions_loaded` returns true. If `warehouse`
    raises, the answer has no history.
    """

    settings: Settings
    store: ProfileStore
    clock: Clock
    plan: Callable[[], SegmentPlan]
    rules: Callable[[], CompiledIdentityRules]
    warehouse: Callable[[], Awaitable[Warehouse]]
    definitions_loaded: Callable[[], bool] = lambda: True

    async def why(self, profile: str, segment: str) -> dict[str, Any]:
        """Explain why a person is in a segment now, or why not.

        Raises Invalid for a malformed or unknown identifier and for an unknown segment, Transient when Redis does not answer.
        """
        plan = self._plan()
        if segment not in plan.segments:
            raise Invalid("no segment has this name: see `onefold segments why PROFILE`", path="segment", reason="unknown_segment")
        snapshot = await self._snapshot(profile, plan)
        now_ms = self.clock.now_ms()
        explanation = await asyncio.to_thread(SegmentExplainer(plan).explain, segment, snapshot.facts, now_ms)
        evidence = await load_event_evidence(self.warehouse, snapshot, segment, explanation.tree)
        return why_to_json(explanation, snapshot, evidence, plan, now_ms)

    async def overview(self, profile: str) -> dict[str, Any]:
        """Return for each segment whether the person is in it, since when, and when that changes by itself. Raises as `why`."""
        plan = self._plan()
        snapshot = await self._snapshot(profile, plan)
        now_ms = self.clock.now_ms()
        return await asyncio.to_thread(_overview, plan, snapshot, now_ms)

    def _plan(self) -> SegmentPlan:
        if not self.definitions_loaded():
            raise Transient("this process has not read the definitions yet: try again")
        return self.plan()

    async def _snapshot(self, profile: str, plan: SegmentPlan) -> ProfileSnapshot:
        node = parse_reference(profile, self.settings, "profile", self.rules().namespaces).node
        snapshot = await person.read_snapshot(
            settings=self.settings, store=self.store, plan=plan, rule=self.rules().household, node=node
        )
        if snapshot is None:
            raise Invalid("profile: no event has named this identifier", path="profile", reason="unknown_identifier")
        return snapshot


def _overview(plan: SegmentPlan, snapshot: ProfileSnapshot, now_ms: int) -> dict[str, Any]:
    explainer = SegmentExplainer(plan)
    rows = [
        row_to_json(name, snapshot, explainer.next_flip(name, snapshot.facts, now_ms), now_ms) for name in sorted(plan.segments)
    ]
    return {
        "profile_id": snapshot.profile_id,
        "at": format_instant(now_ms),
        "evaluated": snapshot.membership.plan_fingerprint == plan.fingerprint,
        "segments": rows,
    }
