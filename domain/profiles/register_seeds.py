"""The seeds of registers: what history puts into the registers of each owner when their definition becomes live. Pure.

**Why.** A register of a new definition must have the content that it would have if the definition had existed before the first
event. History is in ClickHouse, live events come by Kafka, and the two overlap. A fragment knows exactly how far it has
applied its partition, so the seed is cut at that offset.

**Invariant.** Every event is in the seed or is fed by the new plan afterwards, and never in both. The cut is the
fragment's `applied_offset`: events up to it are folded into the seed, and later ones come to the agent, which knows the new
plan by then.

**Example.** The store has applied partition 0 up to offset 99 when the writers are fenced, and ClickHouse has the events 97
to 102 of an owner. Events 97 to 99 are given to `fold` when they are read. Events 100 to 102 are given to `postpone`, because
some of them may have been applied already: a fragment may be ahead of its partition's position, when a worker died between
the two. The owner's own fragment says that it has applied up to 100, so `apply_to` folds event 100 and drops 101 and 102,
which the agent will feed. Each is counted once.
"""

from collections.abc import Collection, Mapping

from domain.profiles.fragment import Fragment, feed_registers
from domain.segments.plan import SegmentPlan
from domain.segments.registers import Register
from schemas.events import Event
from schemas.hashes import message_hash


class RegisterSeeds:
    """Collects the seeds of the given registers, by owner. Each event of history is given once, to `fold` or to `postpone`.

    The seeds of all owners are in memory until they are applied: some hundred bytes for each owner and register that has any.
    """

    def __init__(self, registers: Mapping[str, Register]) -> None:
        # A plan of these registers alone, since the fragment's other registers are live and must not be fed twice.
        self._plan = SegmentPlan.feeding(registers)
        self._register_keys = tuple(registers)
        self._seeded: dict[str, Fragment] = {}
        self._postponed: dict[str, list[tuple[int, Event]]] = {}

    def fold(self, event: Event) -> None:
        """Fold an event that the owner's fragment has applied for certain into the owner's seed."""
        fragment = self._seeded.setdefault(event.owner, Fragment())
        feed_registers(fragment, event, message_hash(event.owner, event.id), self._plan)

    def postpone(self, offset: int, event: Event) -> None:
        """Keep an event, with its offset, until `apply_to` knows how far its owner's fragment has come."""
        self._postponed.setdefault(event.owner, []).append((offset, event))

    @property
    def owners(self) -> Collection[str]:
        """The owners whose fragments get a seed, as long as `apply_to` was not called for them."""
        return self._seeded.keys() | self._postponed.keys()

    def apply_to(self, owner: str, fragment: Fragment, applied_offset: int) -> None:
        """Replace the registers of the owner's fragment by its seed; call this once for each owner.

        `applied_offset` is the last offset of its partition that the fragment has applied.
        """
        for offset, event in self._postponed.pop(owner, ()):
            if offset <= applied_offset:
                self.fold(event)
        seed = self._seeded.pop(owner, Fragment())
        # Replace and never add: an earlier life of the definition, or an earlier run of this backfill that was interrupted,
        # may have left entries of the same events. This also empties the registers of an owner who has no events for them.
        for key in self._register_keys:
            fragment.register_entries.pop(key, None)
            fragment.tallies.pop(key, None)
        fragment.register_entries.update(seed.register_entries)
        fragment.tallies.update(seed.tallies)
