"""A definition taken back. What history says stays where it is: applied again, the definition is as it was.

Cut off anywhere, the same command run a second time completes it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ops import definitions_topic as definitions
from ops.progress import Report, silent
from ops.apply.reevaluation import Note, Touching, presume
from profile_store.port import ProfileStore
from runtime.bus.port import Bus
from runtime.clock import Clock
from runtime.errors import Invalid
from runtime.settings import Settings
from domain.segments.computed_traits import SHIPPED
from domain.definitions.kinds import AnyDefinition, Destination, Segment
from domain.segments.language import InList, InSegment, walk
from domain.segments.plan import Plan, paths_of


@dataclass(frozen=True, slots=True)
class Removed:
    """`profiles` is how many were looked at again."""

    key: str
    profiles: int = 0


class Removal:
    """Takes definitions back."""

    def __init__(self, settings: Settings, bus: Bus, store: ProfileStore, clock: Clock, report: Report = silent) -> None:
        self._settings, self._bus, self._store = settings, bus, store
        self._touching = Touching(settings, bus, store, clock, report)

    async def remove(self, key: str) -> Removed:
        """Take a definition back; whoever is in its segment leaves, silently.

        Raises Invalid when there is none, or another definition names it; Transient when the workers do not keep up.
        """
        known = await definitions.live(self._settings, self._bus)
        pending = await self._touching.pending()
        if key not in known and pending is None:
            raise Invalid(f"{key} is not defined; {_choice(key, known)}", path="definition", reason="missing")
        if key in known:
            if wrong := named_by(key, known):
                what = f"{key} is named by {', '.join(wrong)}: change or remove that first"
                raise Invalid(what, path="definition", reason="named")
            rest = [one for name, one in known.items() if name != key]
            if Plan(known.values()).fingerprint != Plan(rest).fingerprint:
                pending = Note("definition")
                await self._touching.begin(pending)
            await definitions.remove(self._settings, self._bus, key)
        if pending is None:
            return Removed(key)
        await presume(self._store, (await self._bus.end_offsets(self._settings.topic("definitions"))).get(0, 0))
        return Removed(key, await self._touching.run(pending))


def named_by(key: str, known: Mapping[str, AnyDefinition]) -> list[str]:
    """The keys of the definitions that need this one. Pure."""
    kind, _, name = key.partition("/")
    return sorted(other for other, definition in known.items() if other != key and _names(definition, kind, name))


def _names(definition: AnyDefinition, kind: str, name: str) -> bool:
    if isinstance(definition, Destination):
        return kind == "Segment" and any(trigger.segment == name for trigger in definition.spec.triggers)
    if not isinstance(definition, Segment):
        return False
    nodes = list(walk(definition.spec.where))
    if kind == "Segment":
        return any(isinstance(node, InSegment) and node.in_segment == name for node in nodes)
    if kind == "List":
        return any(isinstance(node, InList) and node.list == name for node in nodes)
    looked = {path.split(".")[1] for node in nodes for path in paths_of(node) if path.startswith("computed.")}
    return kind == "ComputedTrait" and name in looked and name not in SHIPPED


def _choice(key: str, known: Mapping[str, AnyDefinition]) -> str:
    kind = key.partition("/")[0]
    alike = sorted(name for name in known if name.startswith(f"{kind}/"))
    return f"there are {', '.join(alike)}" if alike else "give it as KIND/NAME, as `onefold plan` shows it"
