"""Removing a definition: the members of a removed segment leave it silently, and no history is lost.

**Invariant.** Registers and events stay as they are, so applying the same definition again restores what it computed. A
definition that another one names cannot be removed. A checkpoint is in the store while profiles are being evaluated: if the
command is interrupted anywhere, running it again completes the removal.

**Example.** `onefold remove Segment/vip` saves the checkpoint, writes the removal to the definitions topic at offset 12,
requires workers to know offset 13, and touches 40,000 profiles. If it is killed after 10,000, the next run finds that
`Segment/vip` is not live but that a checkpoint is pending. It touches all 40,000, and for the first 10,000 nothing changes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from domain.definitions.kinds import AnyDefinition
from domain.definitions.references import referencing_keys
from domain.definitions.segment_plan import segment_plan_of
from ops import definitions_topic
from ops.apply.reevaluation import BackfillCheckpoint, Reevaluation, require_definitions_offset
from ops.progress import ProgressReporter, report_nothing
from profile_store.port import ProfileStore
from runtime.bus.port import Bus
from runtime.clock import Clock
from runtime.errors import Invalid
from runtime.settings import Settings


@dataclass(frozen=True, slots=True)
class RemovalResult:
    """The key of the removed definition, and how many profiles were evaluated again."""

    key: str
    profiles: int = 0


class DefinitionRemoval:
    """Removes definitions."""

    def __init__(
        self, settings: Settings, bus: Bus, store: ProfileStore, clock: Clock, report: ProgressReporter = report_nothing
    ) -> None:
        self._settings = settings
        self._bus = bus
        self._store = store
        self._reevaluation = Reevaluation(settings=settings, bus=bus, store=store, clock=clock, report=report)

    async def remove(self, key: str) -> RemovalResult:
        """Remove a definition, and have every profile evaluated without it; members of a removed segment exit silently.

        Raises Invalid when no definition has this key or another one names it, Transient when the segment agent is behind:
        then the same command, run again, completes it.
        """
        definitions = await definitions_topic.read_topic(self._settings, self._bus)
        live_definitions = definitions.live
        if any(record.key == key for record in definitions.bad):
            # It is not in force already, so nothing is to be evaluated without it.
            await definitions_topic.remove(self._settings, self._bus, key)
            return RemovalResult(key)
        pending = await self._reevaluation.pending()
        if key not in live_definitions and pending is None:
            raise Invalid(f"{key} is not defined; {_suggestion(key, live_definitions)}", path="definition", reason="missing")
        if key in live_definitions:
            if references := referencing_keys(key, live_definitions):
                message = f"{key} is named by {', '.join(references)}: change or remove that first"
                raise Invalid(message, path="definition", reason="named")
            remaining = [definition for name, definition in live_definitions.items() if name != key]
            # A source or a destination changes no profile, so no profile is touched for it.
            if segment_plan_of(live_definitions.values()).fingerprint != segment_plan_of(remaining).fingerprint:
                # Before the removal, since afterwards nothing would say that there are profiles left to evaluate. It has no
                # offsets yet, because they are those at which the removal is already on the topic.
                pending = BackfillCheckpoint("definition")
                await self._reevaluation.begin(pending)
            await definitions_topic.remove(self._settings, self._bus, key)
        if pending is None:
            return RemovalResult(key)
        await require_definitions_offset(self._store, (await self._bus.end_offsets(self._settings.topic("definitions"))).get(0, 0))
        return RemovalResult(key, await self._reevaluation.run(pending))


def _suggestion(key: str, live_definitions: Mapping[str, AnyDefinition]) -> str:
    kind = key.partition("/")[0]
    same_kind = sorted(name for name in live_definitions if name.startswith(f"{kind}/"))
    return f"there are {', '.join(same_kind)}" if same_kind else "give it as KIND/NAME, as `onefold plan` shows it"
