"""Where questions about one person's segments are answered: what the command and the API have in common."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from ops.identity.references import moment, parse
from ops.segments import profile_snapshot as person
from ops.segments.evidence_events import tell
from ops.segments.profile_snapshot import Person
from ops.segments.to_json import shape_row, shape_why
from profile_store.port import ProfileStore
from warehouse.client import Warehouse
from runtime.clock import Clock
from runtime.errors import Invalid, Transient
from runtime.settings import Settings
from domain.segments.explain import Explainer
from domain.identity.rules import Rules
from domain.segments.plan import Plan


@dataclass(frozen=True, slots=True)
class Asked:
    """`plan` and `rules` are those that are live now, once they are `known`. `warehouse` may raise: then history is not told."""

    settings: Settings
    store: ProfileStore
    clock: Clock
    plan: Callable[[], Plan]
    rules: Callable[[], Rules]
    warehouse: Callable[[], Awaitable[Warehouse]]
    known: Callable[[], bool] = lambda: True

    async def why(self, profile: str, segment: str) -> dict[str, Any]:
        """Why a person is in a segment now, or why not.

        Raises Invalid for what is no identifier, nobody, or no segment; Transient when Redis is away.
        """
        plan = self._plan()
        if segment not in plan.segments:
            raise Invalid("no segment has this name: see `onefold segments why PROFILE`", path="segment", reason="unknown_segment")
        who = await self._person(profile, plan)
        now_ms = self.clock.now_ms()
        explanation = await asyncio.to_thread(Explainer(plan).explain, segment, who.facts, now_ms)
        told = await tell(self.warehouse, who, segment, explanation.tree)
        return shape_why(explanation, who, told, plan, now_ms)

    async def overview(self, profile: str) -> dict[str, Any]:
        """All segments: in or out, since when, and when that turns by itself. Raises as `why`."""
        plan = self._plan()
        who = await self._person(profile, plan)
        now_ms = self.clock.now_ms()
        return await asyncio.to_thread(_overview, plan, who, now_ms)

    def _plan(self) -> Plan:
        if not self.known():
            raise Transient("the definitions are not known here yet: try again")
        return self.plan()

    async def _person(self, profile: str, plan: Plan) -> Person:
        node = parse(profile, self.settings, "profile").node
        found = await person.read(self.settings, self.store, plan, self.rules().household, node)
        if found is None:
            raise Invalid("profile: nobody is known by this identifier", path="profile", reason="unknown_identifier")
        return found


def _overview(plan: Plan, who: Person, now_ms: int) -> dict[str, Any]:
    explainer = Explainer(plan)
    rows = [shape_row(name, who, explainer.turns(name, who.facts, now_ms), now_ms) for name in sorted(plan.segments)]
    return {
        "profile_id": who.profile_id,
        "at": moment(now_ms),
        "evaluated": who.held.plan == plan.fingerprint,
        "segments": rows,
    }
