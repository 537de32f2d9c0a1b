"""Evaluating every profile again after definitions have changed, and remembering that until it is done.

**Invariant.** The checkpoint is in the store from before the definitions change until the last profile has been evaluated. So
a command that is interrupted leaves it behind, and the same command run again finds it and completes the work, although the
definitions are live by then and there is nothing else to change.
"""

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
_CHECKPOINT_KEY: Final = ("backfill_checkpoint", DEFINITIONS_PARTITION.guard_name)


class BackfillCheckpoint(msgspec.Struct, frozen=True):
    """The fields of the touches of one evaluation of everybody; `Touched` describes them.

    Without `offsets` it is not known yet which events were applied by the old definitions: they are read when the touching
    begins.
    """

    cause: Cause
    since_ms: int = 0
    offsets: tuple[int, ...] = ()


class Reevaluation:
    """Touches every profile. A checkpoint in the store marks the work as unfinished until the last profile was touched."""

    def __init__(
        self, settings: Settings, bus: Bus, store: ProfileStore, clock: Clock, report: ProgressReporter = report_nothing
    ) -> None:
        self._settings = settings
        self._bus = bus
        self._store = store
        self._clock = clock
        self._report = report

    async def begin(self, checkpoint: BackfillCheckpoint) -> None:
        """Save the checkpoint: from now on all profiles are to be evaluated. Raises Transient."""
        await self._save_checkpoint(msgspec.json.encode(checkpoint))

    async def pending(self) -> BackfillCheckpoint | None:
        """Return the checkpoint of an evaluation that was begun and not ended, None when there is none."""
        data = (await self._store.documents("backfill_checkpoint", [DEFINITIONS_PARTITION.guard_name]))[
            DEFINITIONS_PARTITION.guard_name
        ].data
        return None if data is None else msgspec.json.decode(data, type=BackfillCheckpoint)

    async def run(self, checkpoint: BackfillCheckpoint) -> int:
        """Touch all profiles, wait until the segment agent has passed the touches, and return how many they were.

        Workers that lack the definitions must be waiting already (`require_definitions_offset`), else they would evaluate by
        the old ones. Raises Transient when the agent is behind: the same command, run again, completes it.
        """
        if not checkpoint.offsets:
            # Saved with its offsets before the first touch, so that a second run sends the same touches, and not later ones.
            checkpoint = BackfillCheckpoint(checkpoint.cause, self._clock.now_ms(), await self._applied_offsets())
            await self.begin(checkpoint)
        touching = checkpoint
        profile_ids = sorted(await profiles_with_events(self._store))

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
        # Removed last: if this process dies before, the next run touches every profile again, which changes nothing twice.
        await self._save_checkpoint(None)
        return len(profile_ids)

    async def _applied_offsets(self) -> tuple[int, ...]:
        """Return the positions of `events` in the order of the partitions."""
        topic_partitions = await topic_partitions_of(self._settings, self._bus, "events")
        return tuple([(await self._store.checkpoint(topic_partition)).position or 0 for topic_partition in topic_partitions])

    async def _save_checkpoint(self, data: bytes | None) -> None:
        position = (await self._store.checkpoint(DEFINITIONS_PARTITION)).position
        stored = (await self._store.documents("backfill_checkpoint", [DEFINITIONS_PARTITION.guard_name]))[
            DEFINITIONS_PARTITION.guard_name
        ]
        # No topic stands behind this document. Its offset only counts the saves, because the store refuses one that is not larger.
        document = GuardedDocument(data, DEFINITIONS_PARTITION.guard_name, stored.offset + 1)
        await self._store.save(DEFINITIONS_PARTITION, position, position or 0, Writes(documents={_CHECKPOINT_KEY: document}))


async def profiles_with_events(store: ProfileStore) -> set[str]:
    """Return the ids of all profiles that have events. Raises Transient."""
    profile_ids: set[str] = set()
    async for owners in _owners(store):
        profile_ids |= {label.profile_id for label in (await store.labels(owners)).values()}
    return profile_ids


async def _owners(store: ProfileStore) -> AsyncIterator[list[str]]:
    owners: list[str] = []
    async for owner, _ in store.scan("fragment"):
        owners.append(owner)
        if len(owners) == CHUNK:
            yield owners
            owners = []
    yield owners


async def require_definitions_offset(store: ProfileStore, offset: int) -> None:
    """Make every worker that has not read the definitions before `offset` wait from now on, until it has read them."""
    position = (await store.checkpoint(DEFINITIONS_PARTITION)).position
    # Never lowered: workers without the definitions that an earlier command has required must go on waiting.
    await store.save(DEFINITIONS_PARTITION, position, max(position or 0, offset), Writes())
