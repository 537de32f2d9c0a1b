"""A store on a cluster whose process ends in the midst of a save."""

import random
from typing import Final

from profile_store.cluster_store import Ahead, ClusterStore
from profile_store.port import Kind, Place
from profile_store.redis_base import CALL_TIMEOUT_S
from runtime.clock import Clock
from runtime.settings import Settings

DIES: Final = 0.2
WAKES: Final = 0.2


class Death(Exception):
    """The process is no more."""


class DyingStore(ClusterStore):
    """Dies in a save, or in finishing another's, once it has written `lives` keys of a write-ahead entry; never when None."""

    left: tuple[Place, bytes, Ahead]
    """What the last death left undone."""

    def __init__(self, settings: Settings, clock: Clock, *, call_timeout_s: float = CALL_TIMEOUT_S) -> None:
        super().__init__(settings, clock, call_timeout_s=call_timeout_s)
        self.environment = settings.environment
        self.lives: int | None = None

    async def _do(self, place: Place, fence: bytes, ahead: Ahead) -> list[tuple[Kind, str]]:
        if self.lives is None:
            return await super()._do(place, fence, ahead)
        self.left = (place, fence, ahead)
        await self._link.run(self._fenced(fence, ahead.writes)[: self.lives])
        self.lives = None
        raise Death

    async def wake(self) -> list[tuple[Kind, str]]:
        """Go on, late, with what the last death left undone."""
        return await self._do(*self.left)


class MortalStore(DyingStore):
    """Dies at random; some of the dead wake up late, at random too. `rng` decides, once it is set."""

    rng: random.Random | None = None
    deaths = 0

    async def _do(self, place: Place, fence: bytes, ahead: Ahead) -> list[tuple[Kind, str]]:
        rng = self.rng
        if rng is None:
            return await super()._do(place, fence, ahead)
        if self.deaths and rng.random() < WAKES:
            await super()._do(*self.left)
        if rng.random() < DIES:
            self.lives = rng.randint(0, len(self._fenced(fence, ahead.writes)))
            self.deaths += 1
        return await super()._do(place, fence, ahead)
