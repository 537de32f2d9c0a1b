"""What history puts into registers, by owner: what they would hold, had their definition been there from the start. Pure."""

from collections.abc import Collection, Mapping

from domain.profiles.fragment import Fragment, feed_registers
from domain.segments.plan import SegmentPlan
from domain.segments.registers import Register
from schemas.events import Event
from schemas.hashes import message_hash


class RegisterSeeds:
    """Each event is given once. `late` are events that may not be applied yet, by owner, with their offsets."""

    def __init__(self, registers: Mapping[str, Register]) -> None:
        self._plan, self._keys = SegmentPlan.feeding(registers), tuple(registers)
        self._seeded: dict[str, Fragment] = {}
        self._postponed: dict[str, list[tuple[int, Event]]] = {}

    def fold(self, event: Event) -> None:
        """Fold an event that is applied."""
        fragment = self._seeded.setdefault(event.owner, Fragment())
        feed_registers(fragment, event, message_hash(event.owner, event.id), self._plan)

    def postpone(self, offset: int, event: Event) -> None:
        """Keep an event until it is known how far its owner's fragment has come."""
        self._postponed.setdefault(event.owner, []).append((offset, event))

    @property
    def owners(self) -> Collection[str]:
        """Whose fragments have something coming."""
        return self._seeded.keys() | self._postponed.keys()

    def apply_to(self, owner: str, fragment: Fragment, applied_offset: int) -> None:
        """Put the owner's seed into its fragment, which has applied its partition up to `applied_offset`, in place of whatever
        an earlier
        life of the same registers has left there. Once for each owner."""
        for offset, event in self._postponed.pop(owner, ()):
            if offset <= applied_offset:
                self.fold(event)
        seed = self._seeded.pop(owner, Fragment())
        for key in self._keys:
            fragment.kept.pop(key, None)
            fragment.tallies.pop(key, None)
        fragment.kept.update(seed.kept)
        fragment.tallies.update(seed.tallies)
