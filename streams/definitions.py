"""Definitions as this process knows them: read from their topic at the start, then followed."""

import asyncio
import logging
from typing import Final

from runtime.bus.follow import RETRY_S, follow
from runtime.bus.port import Bus, Record
from runtime.errors import Transient
from runtime.geoip import locator
from runtime.settings import Settings
from domain.intake.admission import Admission
from domain.definitions.kinds import (AnyDefinition, BadDefinition, IdentityRules, Segment, Source, decode)
from domain.identity.rules import DEFAULT_RULES, IdentityRulesSpec, Rules
from domain.segments.plan import CyclicSegments, Plan, in_order
from streams import metrics

log: Final = logging.getLogger(__name__)

RULES_KEY: Final = "IdentityRules/default"
ADMITTING: Final = ("Source/", "TrackingPlan/")
PLANNED: Final = ("Segment/", "ComputedTrait/", "List/")


class Definitions:
    """The definitions that hold now. Readers take `plan` and `sources` anew for each slice.

    `known` is the next offset of the topic: all before it are in them.
    """

    def __init__(self, settings: Settings) -> None:
        self._secret, self._country = settings.tenant_secret.get_secret_value().encode(), settings.default_country
        self._held: dict[str, AnyDefinition] = {}
        self.caught_up = asyncio.Event()
        self._plan: Plan | None = Plan(())
        self.known = 0
        self.rules = DEFAULT_RULES
        self.sources: list[Source] = []
        self.admission = Admission(locator(settings.geoip_file), metrics.violated)

    def take(self, record: Record) -> None:
        """Take a record of the topic; one that cannot be used is logged and changes nothing."""
        key = (record.key or b"").decode(errors="replace")
        try:
            held = {name: definition for name, definition in self._held.items() if name != key}
            if record.value is not None:
                held[key] = decode(record.value, key)
            if key.startswith(PLANNED):
                self._plan = None
            self.sources = [definition for definition in held.values() if isinstance(definition, Source)]
            if key.startswith(ADMITTING):
                self.admission.become(held.values())
            if key == RULES_KEY:
                self.rules = self._rules(held.get(key), record.offset)
            self._held = held
        except BadDefinition as error:
            log.warning(
                "a definition cannot be used; what held before it holds on",
                extra={"action": "definition_skipped", "offset": record.offset, "reason": str(error)},
            )
        self.known = record.offset + 1

    @property
    def plan(self) -> Plan:
        """All segments and computed traits, compiled when somebody asks after a change: many records make one plan."""
        if self._plan is None:
            try:
                self._plan = Plan(self._held.values())
            except CyclicSegments:
                self._plan = Plan(self._without_circles())
        return self._plan

    def _without_circles(self) -> list[AnyDefinition]:
        """The definitions in the order they came, but for segments that close a circle or lead too far."""
        taken: list[AnyDefinition] = []
        for definition in self._held.values():
            try:
                in_order([one for one in (*taken, definition) if isinstance(one, Segment)])
            except CyclicSegments as error:
                log.warning(
                    "a segment cannot be used", extra={"action": "definition_skipped", "key": definition.key, "reason": str(error)}
                )
                continue
            taken.append(definition)
        return taken

    def _rules(self, definition: AnyDefinition | None, offset: int) -> Rules:
        """The rules of a definition, or the default ones. Their number is the record's offset: it grows with every change."""
        spec = definition.spec if isinstance(definition, IdentityRules) else IdentityRulesSpec()
        return Rules.of(spec, secret=self._secret, country=self._country, number=offset + 1)


async def follow_definitions(settings: Settings, bus: Bus, definitions: Definitions) -> None:
    """Keep `definitions` true to the topic, for ever; `caught_up` is set once what was defined at the start is known."""
    topic = settings.topic("definitions")
    end = await _end(bus, topic)

    async def show() -> None:
        # Compaction may have taken the last records, deletions: whoever has come to the end knows of them all the same.
        definitions.known = max(definitions.known, end)
        definitions.caught_up.set()

    await follow(bus, topic, definitions.take, show)


async def _end(bus: Bus, topic: str) -> int:
    """Where the topic ends now; waits while the broker is away."""
    while True:
        try:
            return (await bus.end_offsets(topic)).get(0, 0)
        except Transient as error:
            log.warning("the definitions wait for the broker", extra={"action": "definitions_wait", "reason": str(error)})
            await asyncio.sleep(RETRY_S)
