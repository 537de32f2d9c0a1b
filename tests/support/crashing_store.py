"""A store on a cluster whose process ends in the midst of a save."""

import random
from typing import Final

from profile_store.cluster_store import ClusterStore, WriteAheadEntry
from profile_store.port import DocumentKind, TopicPartition
from profile_store.redis_base import CALL_TIMEOUT_S
from runtime.clock import Clock
from runtime.settings import Settings

CRASH_CHANCE: Final = 0.2
LATE_RESUME_CHANCE: Final = 0.2


class SimulatedCrash(Exception):
    """The process has crashed."""


class CrashingStore(ClusterStore):
    """A store that crashes within a save.

    It crashes once it has written `writes_before_crash` keys of a write-ahead entry, be it in its own save or while it finishes the
    save of another worker. With None it never crashes.
    """

    left: tuple[TopicPartition, bytes, WriteAheadEntry]
    """What the last death left undone."""

    def __init__(self, settings: Settings, clock: Clock, *, call_timeout_s: float = CALL_TIMEOUT_S) -> None:
        super().__init__(settings, clock, call_timeout_s=call_timeout_s)
        self.environment = settings.environment
        self.writes_before_crash: int | None = None

    async def _write_entry(
        self, topic_partition: TopicPartition, fence: bytes, entry: WriteAheadEntry
    ) -> list[tuple[DocumentKind, str]]:
        if self.writes_before_crash is None:
            return await super()._write_entry(topic_partition, fence, entry)
        self.left = (topic_partition, fence, entry)
        await self._link.run(self._fenced_calls(fence, entry.writes)[: self.writes_before_crash])
        self.writes_before_crash = None
        raise SimulatedCrash

    async def resume_late(self) -> list[tuple[DocumentKind, str]]:
        """Resume late the writes that the last crash interrupted."""
        return await self._write_entry(*self.left)


class RandomlyCrashingStore(CrashingStore):
    """A store that crashes at random, and some of whose crashed writers resume late, also at random.

    `rng` decides both, once it is set.
    """

    rng: random.Random | None = None
    crashes = 0

    async def _write_entry(
        self, topic_partition: TopicPartition, fence: bytes, entry: WriteAheadEntry
    ) -> list[tuple[DocumentKind, str]]:
        rng = self.rng
        if rng is None:
            return await super()._write_entry(topic_partition, fence, entry)
        if self.crashes and rng.random() < LATE_RESUME_CHANCE:
            await super()._write_entry(*self.left)
        if rng.random() < CRASH_CHANCE:
            self.writes_before_crash = rng.randint(0, len(self._fenced_calls(fence, entry.writes)))
            self.crashes += 1
        return await super()._write_entry(topic_partition, fence, entry)
