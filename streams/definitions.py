"""Definitions as this process knows them: read from their topic at the start, then followed."""

import asyncio
from typing import Final

from domain.definitions.admission_rules import admission_rules
from domain.definitions.kinds import AnyDefinition, IdentityRules, InvalidDefinition, Segment, Source, decode_definition
from domain.definitions.segment_plan import segment_plan_of
from domain.identity.rules import DEFAULT_RULES, CompiledIdentityRules, IdentityRulesSpec
from domain.intake.admission import Admission
from domain.segments.plan import CyclicSegments, SegmentPlan, sort_by_reference
from runtime.bus.follow import RETRY_S, follow
from runtime.bus.port import Bus, Record
from runtime.errors import Transient
from runtime.geoip import open_locator
from runtime.logs import get_logger
from runtime.settings import Settings
from streams import metrics

log: Final = get_logger(__name__)

RULES_KEY: Final = "IdentityRules/default"
ADMISSION_KINDS: Final = ("Source/", "TrackingPlan/")
PLAN_KINDS: Final = ("Segment/", "ComputedTrait/", "List/")


class Definitions:
    """The definitions that hold now. Readers take `plan` and `sources` anew for each slice.

    `next_offset` is the next offset of the topic: all before it are in them.
    """

    def __init__(self, settings: Settings) -> None:
        self._secret, self._country = settings.tenant_secret.get_secret_value().encode(), settings.default_country
        self._definitions: dict[str, AnyDefinition] = {}
        self.caught_up = asyncio.Event()
        self._plan: SegmentPlan | None = SegmentPlan()
        self.next_offset = 0
        self.rules = DEFAULT_RULES
        self.sources: list[Source] = []
        self.admission = Admission(open_locator(settings.geoip_file), metrics.count_violation)

    def apply(self, record: Record) -> None:
        """Take a record of the topic; one that cannot be used is logged and changes nothing."""
        key = (record.key or b"").decode(errors="replace")
        try:
            definitions = {name: definition for name, definition in self._definitions.items() if name != key}
            if record.value is not None:
                definitions[key] = decode_definition(record.value, key)
            if key.startswith(PLAN_KINDS):
                self._plan = None
            self.sources = [definition for definition in definitions.values() if isinstance(definition, Source)]
            if key.startswith(ADMISSION_KINDS):
                self.admission.replace_rules(admission_rules(definitions.values()))
            if key == RULES_KEY:
                self.rules = self._build_rules(definitions.get(key), record.offset)
            self._definitions = definitions
        except InvalidDefinition as error:
            # The earlier version of the definition stays in force.
            log.warning("definition_skipped", offset=record.offset, reason=str(error))
        self.next_offset = record.offset + 1

    @property
    def plan(self) -> SegmentPlan:
        """All segments and computed traits, compiled when somebody asks after a change: many records make one plan."""
        if self._plan is None:
            try:
                self._plan = segment_plan_of(self._definitions.values())
            except CyclicSegments:
                self._plan = segment_plan_of(self._without_cycles())
        return self._plan

    def _without_cycles(self) -> list[AnyDefinition]:
        """The definitions in the order they came, but for segments that close a circle or lead too far."""
        accepted: list[AnyDefinition] = []
        for definition in self._definitions.values():
            try:
                sort_by_reference({item.metadata.name: item.spec for item in (*accepted, definition) if isinstance(item, Segment)})
            except CyclicSegments as error:
                log.warning("definition_skipped", key=definition.key, reason=str(error))
                continue
            accepted.append(definition)
        return accepted

    def _build_rules(self, definition: AnyDefinition | None, offset: int) -> CompiledIdentityRules:
        """The rules of a definition, or the default ones. Their number is the record's offset: it grows with every change."""
        spec = definition.spec if isinstance(definition, IdentityRules) else IdentityRulesSpec()
        return CompiledIdentityRules.from_spec(spec, secret=self._secret, country=self._country, sequence_number=offset + 1)


async def follow_definitions(settings: Settings, bus: Bus, definitions: Definitions) -> None:
    """Keep `definitions` true to the topic, for ever; `caught_up` is set once what was defined at the start is known."""
    topic = settings.topic("definitions")
    end_offset = await _end_offset(bus, topic)

    async def on_update() -> None:
        # Compaction may have taken the last records, deletions: whoever has come to the end knows of them all the same.
        definitions.next_offset = max(definitions.next_offset, end_offset)
        definitions.caught_up.set()

    await follow(bus, topic, definitions.apply, on_update)


async def _end_offset(bus: Bus, topic: str) -> int:
    """Where the topic ends now; waits while the broker is away."""
    while True:
        try:
            return (await bus.end_offsets(topic)).get(0, 0)
        except Transient as error:
            log.warning("definitions_wait", reason=str(error))
            await asyncio.sleep(RETRY_S)
