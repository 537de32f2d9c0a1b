"""What history puts into registers, by owner: what they would hold, had their definition been there from the start. Pure."""

from collections.abc import Collection, Mapping

from domain.profiles import fragment as model
from domain.profiles.fragment import Fragment
from schemas.events import Event
from schemas.hashes import message_hash
from domain.segments.plan import Plan
from domain.segments.registers import Register


class _Only(Plan):
    """A plan that feeds these registers alone."""

    def __init__(self, registers: Mapping[str, Register]) -> None:
        super().__init__(())
        self.registers = dict(registers)
        self._fed = {}
        for register in registers.values():
            self._fed.setdefault(register.event, []).append(register)


class Seeds:
    """Each event is given once. `late` are events that may not be applied yet, by owner, with their offsets."""

    def __init__(self, registers: Mapping[str, Register]) -> None:
        self._plan, self._keys = _Only(registers), tuple(registers)
        self._held: dict[str, Fragment] = {}
        self._late: dict[str, list[tuple[int, Event]]] = {}

    def take(self, event: Event) -> None:
        """Fold an event that is applied."""
        held = self._held.setdefault(event.owner, Fragment())
        model.feed(held, event, message_hash(event.owner, event.id), self._plan)

    def postpone(self, offset: int, event: Event) -> None:
        """Keep an event until it is known how far its owner's fragment has come."""
        self._late.setdefault(event.owner, []).append((offset, event))

    @property
    def owners(self) -> Collection[str]:
        """Whose fragments have something coming."""
        return self._held.keys() | self._late.keys()

    def plant(self, owner: str, fragment: Fragment, applied: int) -> None:
        """Put the owner's seed into its fragment, which has applied its partition up to `applied`, in place of whatever an earlier
        life of the same registers has left there. Once for each owner."""
        for offset, event in self._late.pop(owner, ()):
            if offset <= applied:
                self.take(event)
        seed = self._held.pop(owner, Fragment())
        for key in self._keys:
            fragment.kept.pop(key, None)
            fragment.tallies.pop(key, None)
        fragment.kept.update(seed.kept)
        fragment.tallies.update(seed.tallies)
