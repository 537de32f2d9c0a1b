"""A store on a cluster whose process ends in the midst of a save."""

from profile_store.cluster_store import Ahead, ClusterStore
from profile_store.port import Kind, Place
from profile_store.redis_base import CALL_TIMEOUT_S
from runtime.clock import Clock
from runtime.settings import Settings


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
