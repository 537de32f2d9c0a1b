"""A definition taken back. What history says stays where it is: applied again, the definition is as it was.

Cut off anywhere, the same command run a second time completes it.
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
    """`profiles` is how many were looked at again."""

    key: str
    profiles: int = 0


class DefinitionRemoval:
    """Takes definitions back."""

    def __init__(
        self, settings: Settings, bus: Bus, store: ProfileStore, clock: Clock, report: ProgressReporter = report_nothing
    ) -> None:
        self._settings, self._bus, self._store = settings, bus, store
        self._reevaluation = Reevaluation(settings, bus, store, clock, report)

    async def remove(self, key: str) -> RemovalResult:
        """Take a definition back; whoever is in its segment leaves, silently.

        Raises Invalid when there is none, or another definition names it; Transient when the workers do not keep up.
        """
        live_definitions = await definitions_topic.read_live(self._settings, self._bus)
        pending = await self._reevaluation.pending()
        if key not in live_definitions and pending is None:
            raise Invalid(f"{key} is not defined; {_suggestion(key, live_definitions)}", path="definition", reason="missing")
        if key in live_definitions:
            if references := referencing_keys(key, live_definitions):
                message = f"{key} is named by {', '.join(references)}: change or remove that first"
                raise Invalid(message, path="definition", reason="named")
            remaining = [definition for name, definition in live_definitions.items() if name != key]
            if segment_plan_of(live_definitions.values()).fingerprint != segment_plan_of(remaining).fingerprint:
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
