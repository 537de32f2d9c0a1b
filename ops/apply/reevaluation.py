"""Having every profile looked at again, in chunks, and remembering that it must be done until it is."""

from collections.abc import AsyncIterator
from typing import Final

import msgspec

from ops.progress import ProgressReporter, report_nothing
from ops.touches import ProfileToucher
from ops.writers_pause import topic_partitions_of
from profile_store.agent_waiter import AgentBehind
from profile_store.port import DEFINITIONS_PARTITION, GuardedDocument, ProfileStore, Writes
from runtime.bus.port import Bus
from runtime.clock import Clock
from runtime.errors import Transient
from runtime.settings import Settings
from schemas.records import Cause, Touched

CHUNK: Final = 1_000
"""Owners whose labels one query to the store names."""
_CHECKPOINT_KEY: Final = ("link_outbox", DEFINITIONS_PARTITION.guard_name)


class BackfillCheckpoint(msgspec.Struct, frozen=True):
    """What the touches say: see Touched. Without `offsets` it is not known yet since when the definitions hold."""

    cause: Cause
    since_ms: int = 0
    offsets: tuple[int, ...] = ()


class Reevaluation:
    """The note that profiles are to be touched stands in the store from before the definitions change until all have been."""

    def __init__(
        self, settings: Settings, bus: Bus, store: ProfileStore, clock: Clock, report: ProgressReporter = report_nothing
    ) -> None:
        self._settings, self._bus, self._store, self._clock, self._report = settings, bus, store, clock, report

    async def begin(self, checkpoint: BackfillCheckpoint) -> None:
        """Note that all profiles are to be touched."""
        await self._save_checkpoint(msgspec.json.encode(checkpoint))

    async def pending(self) -> BackfillCheckpoint | None:
        """The touches that were begun and not ended, by this command or an earlier one that was cut off."""
        data = (await self._store.documents("link_outbox", [DEFINITIONS_PARTITION.guard_name]))[
            DEFINITIONS_PARTITION.guard_name
        ].data
        return None if data is None else msgspec.json.decode(data, type=BackfillCheckpoint)

    async def run(self, checkpoint: BackfillCheckpoint) -> int:
        """Touch all profiles and wait until the segment agent has come past that; returns how many. Whoever lacks the definitions
        must wait already (`require_definitions_offset`). Raises Transient when the agent does not keep up: the command run
        again completes it."""
        if not checkpoint.offsets:
            checkpoint = BackfillCheckpoint(checkpoint.cause, self._clock.now_ms(), await self._applied_offsets())
            await self.begin(checkpoint)
        touching = checkpoint
        profile_ids = sorted(await self._profiles())

        def make_touch(profile_id: str) -> Touched:
            return Touched(
                profile_id=profile_id,
                node=profile_id,
                cause=touching.cause,
                at_ms=self._clock.now_ms(),
                since_ms=touching.since_ms,
                offsets=touching.offsets,
            )

        def report(completed: int) -> None:
            self._report("profiles evaluated again", completed, len(profile_ids))

        try:
            await ProfileToucher(self._settings, self._bus, self._store).touch(profile_ids, make_touch, report)
        except AgentBehind as error:
            raise Transient(
                f"the definitions are live, but not every profile was evaluated again: {error}; run it again"
            ) from error
        await self._save_checkpoint(None)
        return len(profile_ids)

    async def _applied_offsets(self) -> tuple[int, ...]:
        """What the store has applied of `events`, by partition."""
        topic_partitions = await topic_partitions_of(self._settings, self._bus, "events")
        return tuple([(await self._store.checkpoint(topic_partition)).position or 0 for topic_partition in topic_partitions])

    async def _profiles(self) -> set[str]:
        """All profiles that have events."""
        profile_ids: set[str] = set()
        async for owners in self._owners():
            profile_ids |= {label.profile_id for label in (await self._store.labels(owners)).values()}
        return profile_ids

    async def _owners(self) -> AsyncIterator[list[str]]:
        owners: list[str] = []
        async for owner, _ in self._store.scan("fragment"):
            owners.append(owner)
            if len(owners) == CHUNK:
                yield owners
                owners = []
        yield owners

    async def _save_checkpoint(self, data: bytes | None) -> None:
        position = (await self._store.checkpoint(DEFINITIONS_PARTITION)).position
        stored = (await self._store.documents("link_outbox", [DEFINITIONS_PARTITION.guard_name]))[DEFINITIONS_PARTITION.guard_name]
        document = GuardedDocument(data, DEFINITIONS_PARTITION.guard_name, stored.offset + 1)
        await self._store.save(DEFINITIONS_PARTITION, position, position or 0, Writes(documents={_CHECKPOINT_KEY: document}))


async def require_definitions_offset(store: ProfileStore, offset: int) -> None:
    """From now on whoever knows only definitions before that offset waits."""
    position = (await store.checkpoint(DEFINITIONS_PARTITION)).position
    await store.save(DEFINITIONS_PARTITION, position, max(position or 0, offset), Writes())
