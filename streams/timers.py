"""Timers: when a profile's instant comes, say `touched` for it. The segment agent then sets the next one, or clears it."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from profile_store.port import Place, ProfileStore
from runtime.bus.port import Producer
from runtime.clock import Clock
from runtime.errors import Transient
from runtime.settings import Settings
from schemas.records import Touched
from streams.steps.common import touch

log: Final = logging.getLogger(__name__)

LOOK_S: Final = 0.05
"""How often each place is asked for due timers: a small part of the second within which membership must change."""
AGAIN_MS: Final = 5_000
"""A timer stands until its evaluation. After this time it is said again, since its touch or evaluation may be lost."""
BATCH: Final = 500
RETRY_S: Final = 0.5


class Timers:
    """Says the due timers of the places that the segment agent has now."""

    def __init__(
        self,
        settings: Settings,
        store: ProfileStore,
        producer: Producer,
        clock: Clock,
        places: Callable[[], Sequence[Place]],
        late: Callable[[float], None],
    ) -> None:
        self._settings, self._store, self._producer, self._clock = settings, store, producer, clock
        self._places, self._late = places, late
        self._said: dict[tuple[Place, str], tuple[int, int]] = {}  # (place, profile id) → (due, said at)

    async def run(self) -> None:
        """Look again and again, for ever."""
        while True:
            try:
                await asyncio.gather(*(self.look(place) for place in self._places()))
                await asyncio.sleep(LOOK_S)
            except Transient:
                await asyncio.sleep(RETRY_S)

    async def look(self, place: Place) -> int:
        """Say what is due at `place` and was not said just before; returns how many. Raises Transient."""
        now_ms = self._clock.now_ms()
        self._said = {key: said for key, said in self._said.items() if now_ms - said[1] < AGAIN_MS}
        pending = sum(1 for said_place, _ in self._said if said_place == place)
        due = [
            (profile_id, due_ms)
            for profile_id, due_ms in await self._store.due_timers(place, now_ms, BATCH + pending)
            if self._said.get((place, profile_id), (None, 0))[0] != due_ms
        ]
        if not due:
            return 0
        await self._producer.send(
            [
                touch(self._settings, Touched(profile_id=profile_id, node=profile_id, cause="timer", at_ms=due_ms))
                for profile_id, due_ms in due
            ]
        )
        for profile_id, due_ms in due:
            self._said[place, profile_id] = (due_ms, now_ms)
            self._late(max(0, now_ms - due_ms) / 1000)
        return len(due)
