"""Having every profile looked at again, in chunks, and remembering that it must be done until it is."""

from collections.abc import AsyncIterator, Sequence
from typing import Final

import msgspec

from ops.progress import Report, silent
from ops.writers_pause import places_of, until
from profile_store.port import DEFINITIONS, Document, Place, ProfileStore, Writes
from runtime.bus.port import Bus, Outgoing, Producer
from runtime.clock import Clock
from runtime.errors import Transient
from runtime.settings import Settings
from schemas.codec import encode
from schemas.records import Cause, Touched

CHUNK: Final = 1_000
"""Touches that wait for their evaluation at most: a live one waits no longer than these take, a quarter of a second or so."""
KEEP_UP_S: Final = 120.0
LOOK_S: Final = 0.02
_NOTE: Final = ("unsaid", DEFINITIONS.name)


class Note(msgspec.Struct, frozen=True):
    """What the touches say: see Touched. Without `offsets` it is not known yet since when the definitions hold."""

    cause: Cause
    since_ms: int = 0
    offsets: tuple[int, ...] = ()


class Touching:
    """The note that profiles are to be touched stands in the store from before the definitions change until all have been."""

    def __init__(self, settings: Settings, bus: Bus, store: ProfileStore, clock: Clock, report: Report = silent) -> None:
        self._settings, self._bus, self._store, self._clock, self._report = settings, bus, store, clock, report

    async def begin(self, note: Note) -> None:
        """Note that all profiles are to be touched."""
        await self._note(msgspec.json.encode(note))

    async def pending(self) -> Note | None:
        """The touches that were begun and not ended, by this command or an earlier one that was cut off."""
        data = (await self._store.documents("unsaid", [DEFINITIONS.name]))[DEFINITIONS.name].data
        return None if data is None else msgspec.json.decode(data, type=Note)

    async def run(self, note: Note) -> int:
        """Touch all profiles and wait until the segment agent has come past that; returns how many. Whoever lacks the definitions
        must wait already (`presume`). Raises Transient when the agent does not keep up: the command run again completes it."""
        if not note.offsets:
            note = Note(note.cause, self._clock.now_ms(), await self._offsets())
            await self.begin(note)
        profile_ids, done = sorted(await self._profiles()), 0
        producer = await self._bus.producer()
        try:
            for start in range(0, len(profile_ids), CHUNK):
                part = profile_ids[start : start + CHUNK]
                await self._touch(producer, part, note)
                done += len(part)
                self._report("profiles looked at again", done, len(profile_ids))
        finally:
            await producer.aclose()
        await self._note(None)
        return done

    async def _offsets(self) -> tuple[int, ...]:
        """What the store has applied of `events`, by partition."""
        places = await places_of(self._settings, self._bus, "events")
        return tuple([(await self._store.standing(place)).position or 0 for place in places])

    async def _touch(self, producer: Producer, profile_ids: Sequence[str], note: Note) -> None:
        topic, now_ms = self._settings.topic("touched"), self._clock.now_ms()
        said = [
            Touched(profile_id=name, node=name, cause=note.cause, at_ms=now_ms, since_ms=note.since_ms, offsets=note.offsets)
            for name in profile_ids
        ]
        placed = await producer.send([Outgoing(topic, encode(one), key=one.profile_id.encode()) for one in said])
        partitions, last = len(await self._bus.end_offsets(topic)), dict[int, int]()
        for number, offset in placed:
            last[number] = max(offset, last.get(number, 0))

        async def evaluated() -> bool:
            places = {Place("touched", number, partitions): offset for number, offset in last.items()}
            return all([((await self._store.standing(place)).position or 0) > offset for place, offset in places.items()])

        if not await until(evaluated, KEEP_UP_S, LOOK_S):
            raise Transient(
                "the definitions are live, but the segment agent does not keep up: are the stream workers running? run it again"
            )

    async def _profiles(self) -> set[str]:
        """All profiles that have events."""
        found: set[str] = set()
        async for owners in self._owners():
            found |= {label.profile_id for label in (await self._store.labels(owners)).values()}
        return found

    async def _owners(self) -> AsyncIterator[list[str]]:
        owners: list[str] = []
        async for owner, _ in self._store.scan("fragment"):
            owners.append(owner)
            if len(owners) == CHUNK:
                yield owners
                owners = []
        yield owners

    async def _note(self, data: bytes | None) -> None:
        position = (await self._store.standing(DEFINITIONS)).position
        held = (await self._store.documents("unsaid", [DEFINITIONS.name]))[DEFINITIONS.name]
        document = Document(data, DEFINITIONS.name, held.offset + 1)
        await self._store.save(DEFINITIONS, position, position or 0, Writes(documents={_NOTE: document}))


async def presume(store: ProfileStore, definitions: int) -> None:
    """From now on whoever knows only definitions before that offset waits."""
    position = (await store.standing(DEFINITIONS)).position
    await store.save(DEFINITIONS, position, max(position or 0, definitions), Writes())
