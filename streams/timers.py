"""Timers: when a profile's instant comes, say `touched` for it. The segment agent then sets the next one, or clears it.

A timer stands in the store until its evaluation, so nothing is lost with this process, and a touch that was said is durable: the
place's position tells when it was evaluated. Since nobody else sets timers of a place, the store is asked only when one is due.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from profile_store.port import Place, ProfileStore
from runtime.bus.port import Producer
from runtime.clock import Clock
from runtime.errors import Transient
from runtime.settings import Settings
from schemas.records import Touched
from streams.assigned_partitions import NEVER, Places
from streams.steps.common import touch
from streams.in_flight_timers import Window

TICK_S: Final = 0.01
"""How often it is seen, in memory, whether a timer is due or room for more has come."""
UNDER_WAY: Final = 500
"""Touches that may wait for their evaluation, of all places together. A live touch waits no longer than these take: an eighth of
a second when the agent does 4,000 a second, however many timers are due at one instant. More do not make the agent faster."""
LEAST_ROOM: Final = 16
RETRY_S: Final = 0.5


class Timers:
    """Says the due timers of the places that the segment agent has now, the earliest first. `late` gets ms from due to said."""

    def __init__(
        self,
        settings: Settings,
        store: ProfileStore,
        producer: Producer,
        clock: Clock,
        places: Places,
        late: Callable[[int], None],
    ) -> None:
        self._settings, self._store, self._producer, self._clock = settings, store, producer, clock
        self._places, self._late = places, late
        self._windows: dict[Place, Window] = {}
        self._busy: set[Place] = set()

    async def run(self) -> None:
        """Say what becomes due, for ever. A place that has to wait for the store or the broker holds no other one back."""
        async with asyncio.TaskGroup() as looks:
            while True:
                for place in self.wanting():
                    self._busy.add(place)
                    looks.create_task(self._look(place), name=f"timers {place.name}")
                await asyncio.sleep(self._pause_s())

    def wanting(self) -> list[Place]:
        """The places where something may be due for which there is room. Asks memory only."""
        assigned = self._places.all()
        room = max(LEAST_ROOM, UNDER_WAY // max(1, len(assigned)))
        self._windows = {place: self._windows.get(place) or Window() for place in assigned}
        now_ms = self._clock.now_ms()
        for place, window in self._windows.items():
            window.see(self._places.position(place), self._places.take_soonest(place), room)
        return [place for place, window in self._windows.items() if place not in self._busy and window.wants(now_ms)]

    async def look(self, place: Place) -> int:
        """Say what is due at `place`, as far as there is room; returns how many. Raises Transient, and can be called again then."""
        window, now_ms = self._windows[place], self._clock.now_ms()
        limit = window.start(now_ms)
        due = await self._store.due_timers(place, now_ms, limit)
        next_ms = now_ms if len(due) == limit else await self._store.next_timer(place, now_ms)
        fresh = window.choose(due, NEVER if next_ms is None else next_ms, now_ms)
        if not fresh:
            return 0
        try:
            written = await self._producer.send(
                [
                    touch(self._settings, Touched(profile_id=profile_id, node=profile_id, cause="timer", at_ms=due_ms))
                    for profile_id, due_ms in fresh
                ]
            )
        except Transient:
            window.again()
            raise
        said_ms = self._clock.now_ms()
        for (profile_id, due_ms), (partition, offset) in zip(fresh, written, strict=True):
            window.said(profile_id, due_ms, offset if partition == place.partition else None)
            self._late(max(0, said_ms - due_ms))
        return len(fresh)

    async def _look(self, place: Place) -> None:
        try:
            await self.look(place)
        except Transient:
            await asyncio.sleep(RETRY_S)
        finally:
            self._busy.discard(place)

    def _pause_s(self) -> float:
        now_ms = self._clock.now_ms()
        next_ms = min((window.next_ms for window in self._windows.values()), default=NEVER)
        return min(TICK_S, max(0.001, (next_ms - now_ms) / 1000)) if next_ms > now_ms else TICK_S
