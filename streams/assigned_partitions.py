"""Places: which partitions a worker speaks for, and how far each had come when the worker last wrote or was assigned."""

from collections.abc import Collection, Mapping
from typing import Final

from faust.types import TP

from profile_store.port import Place, ProfileStore
from runtime.bus.port import Bus
from runtime.errors import StateLost

NEVER_WRITTEN: Final = 0
NEVER: Final = 1 << 62
AT_ONCE: Final = 0


class Places:
    """The places of one agent; `topic` is the register's name. `store` is None for an agent that keeps no state there."""

    def __init__(self, bus: Bus, store: ProfileStore | None, topic: str, replay_margin: int) -> None:
        self._bus, self._store, self._topic, self._margin = bus, store, topic, replay_margin
        self._places: dict[int, Place] = {}
        self._known: dict[Place, int] = {}
        self._soonest: dict[Place, int] = {}
        self._fences: dict[Place, int] = {}

    def all(self) -> tuple[Place, ...]:
        """The places now assigned."""
        return tuple(self._places.values())

    def of(self, partition: int) -> Place | None:
        """The place of an assigned partition; None when it is not assigned."""
        return self._places.get(partition)

    async def assigned(self, partitions: Collection[TP]) -> Mapping[TP, int]:
        """Take these partitions; returns the offset after which each must not start.

        A place that was never written has no state, so it starts at the beginning: starting too early is always right.
        """
        self._places, self._known, self._soonest, self._fences = {}, {}, {}, {}
        if not partitions:
            return {}
        count = len(await self._bus.end_offsets(next(iter(partitions)).topic))
        starts: dict[TP, int] = {}
        for tp in partitions:
            place = Place(self._topic, tp.partition, count)
            if self._store is not None:
                self._known[place] = (await self._store.standing(place)).position or NEVER_WRITTEN
                starts[tp] = max(0, self._known[place] - self._margin)
            self._places[tp.partition] = place
            self._soonest[place] = AT_ONCE
        return starts

    def check(self, place: Place, position: int | None) -> None:
        """Raise StateLost when the store stands behind what this worker knows of it."""
        known = self._known.get(place, NEVER_WRITTEN)
        if (position or NEVER_WRITTEN) < known:
            raise StateLost(f"{place.name}: the store stands at {position}, it stood at {known} before")

    def moved(self, place: Place, position: int, soonest_ms: int = NEVER) -> None:
        """Remember that the store stands at `position`, if the place is still this worker's; a save that moved it there has set
        no timer for an instant before `soonest_ms`."""
        if place in self._known:
            self._known[place] = position
            self._soonest[place] = min(self._soonest.get(place, NEVER), soonest_ms)

    def unsure(self, place: Place) -> None:
        """Any timers may have been set: a slice was saved after tries that failed, one of which may have taken place, or the
        writers were shut out, and whoever did that may have written."""
        if place in self._known:
            self._soonest[place] = AT_ONCE

    def position(self, place: Place) -> int:
        """Where the store stands at least, by what this worker has seen: all records before that offset were applied."""
        return self._known.get(place, NEVER_WRITTEN)

    def take_soonest(self, place: Place) -> int:
        """The earliest instant (ms) for which timers may have been set since this was last asked; NEVER when none was."""
        return self._soonest.pop(place, NEVER)

    async def look(self) -> None:
        """Check every place, so that a loss shows where no records come too. Raises StateLost, or Transient."""
        if self._store is None:
            return
        for place, known in list(self._known.items()):
            standing = await self._store.standing(place)
            position = standing.position
            if (position or NEVER_WRITTEN) < known and place in self._known:
                raise StateLost(f"{place.name}: the store stands at {position}, it stood at {known} before")
            if self._fences.get(place) not in (None, standing.fence):
                self.unsure(place)
            self._fences[place] = standing.fence
