"""Law 7, done: the profile store made anew from ClickHouse. Stream workers wait meanwhile and go on by themselves.

Positions are written last: a rebuild that is cut off leaves a store that says it stands at the beginning, never one that says
it holds what it does not. Workers that notice read the log again, which is harmless; running the rebuild again completes it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

from ops import definitions, refill, state
from ops.refill import Places
from profile_store import values
from profile_store.port import Place, ProfileStore, Writes
from profile_store.warehouse import reads
from profile_store.warehouse.client import Warehouse
from runtime.bus.port import Bus, Outgoing
from runtime.clock import Clock
from runtime.errors import Transient
from runtime.settings import Settings
from schemas.codec import encode
from schemas.records import Touched
from segments.definitions import Segment
from segments.plan import Plan

KINDS: Final = ("fragment", "membership", "label", "members", "edges", "timer", "position")
STILL_S: Final = 2.0
LOOK_S: Final = 0.25
CATCH_UP_S: Final = 120.0
HOLD_AGAIN_S: Final = 15.0
_UNKNOWN: Final = 0


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What was written, and the state hash before and after."""

    events: int
    fragments: int
    profiles: int
    memberships: int
    before: str
    after: str


class Rebuild:
    """One rebuild of the profile store. `still_s` is how long positions must stand before the old state is given up."""

    def __init__(
        self, settings: Settings, bus: Bus, store: ProfileStore, warehouse: Warehouse, clock: Clock, *, still_s: float = STILL_S
    ) -> None:
        self._settings, self._bus, self._store, self._warehouse = settings, bus, store, warehouse
        self._clock, self._still_s = clock, still_s

    async def run(self) -> Rebuilt:
        """Hold the workers, refill the store, let them go on. Raises Transient, before anything was wiped, when stores lag."""
        plan = await self._plan()
        async with _held(self._store):
            standing = await self._stand_still()
            await self._caught_up(standing)
            before = state.state_hash(await state.of_redis(self._store))
            version = 1 + await self._newest_version()
            places = await self._places(standing)
            recomputed = await state.of_clickhouse(
                self._warehouse, plan, {place.partition: offset for place, offset in places.events.items()}
            )
            transitions = await reads.ask(self._warehouse, "transitions")
            labels, members = refill.identities(recomputed, version)
            documents = refill.fragments(recomputed, places.events)
            held = refill.membership_documents(transitions, labels, places.touched)
            await self._store.wipe(KINDS)
            for place, entries in (*documents.items(), *held.items()):
                await self._write(place, Writes(documents=entries))
            for place in places.links:
                await self._write(place, Writes(labels=labels, members=members, edges=recomputed.edges))
            for place, offset in places.all().items():
                await self._store.save(place, (await self._store.standing(place)).position, offset, Writes())
            after = state.state_hash(await state.of_redis(self._store))
            profiles = recomputed.state.profiles()
            profile_ids = {profile_id for entries in held.values() for _, profile_id in entries}
            await self._touch(sorted(profiles.keys() | profile_ids))
        return Rebuilt(recomputed.events, len(recomputed.state.fragments), len(profiles), len(profile_ids), before, after)

    async def _plan(self) -> Plan:
        known = await definitions.live(self._settings, self._bus)
        return Plan(definition for definition in known.values() if isinstance(definition, Segment))

    async def _all(self) -> list[Place]:
        found = []
        for topic in ("events", "links", "touched"):
            numbers = await self._bus.end_offsets(self._settings.topic(topic))
            found += [Place(topic, number, len(numbers)) for number in sorted(numbers)]
        return found

    async def _stand_still(self) -> dict[Place, int]:
        """The positions once no worker has moved one for a while: slices in hand when the hold came have ended."""
        places = await self._all()
        loop = asyncio.get_running_loop()
        seen: dict[Place, int] = {}
        since, end = loop.time(), loop.time() + CATCH_UP_S
        while loop.time() < end:
            now = {place: (await self._store.standing(place)).position or _UNKNOWN for place in places}
            if now != seen:
                seen, since = now, loop.time()
            elif loop.time() - since >= self._still_s:
                return seen
            await asyncio.sleep(min(LOOK_S, self._still_s))
        raise Transient("the stream workers do not stand still: is one of them older than this command? nothing was changed")

    async def _caught_up(self, standing: Mapping[Place, int]) -> None:
        """Wait until ClickHouse has all that the store has seen, and every transition that was said."""
        wanted: dict[str, dict[int, int]] = {"memberships": await self._bus.end_offsets(self._settings.topic("memberships"))}
        for topic in ("events", "links"):
            wanted[topic] = {place.partition: offset for place, offset in standing.items() if place.topic == topic}

        async def arrived() -> bool:
            for topic, offsets in wanted.items():
                noted = await self._noted(topic)
                if any(noted.get(partition, _UNKNOWN) < offset for partition, offset in offsets.items()):
                    return False
            return True

        if not await _until(arrived, CATCH_UP_S):
            raise Transient("ClickHouse lags behind the profile store: are the consumers running? nothing was changed")

    async def _noted(self, topic: str) -> dict[int, int]:
        return dict(await reads.ask(self._warehouse, "positions", topic=self._settings.topic(topic)))

    async def _places(self, standing: Mapping[Place, int]) -> Places:
        """What the refilled state stands for: ClickHouse's positions; where the segment agent stood stays."""
        events, links = await self._noted("events"), await self._noted("links")
        return Places(
            events={place: events.get(place.partition, _UNKNOWN) for place in standing if place.topic == "events"},
            links={place: links.get(place.partition, _UNKNOWN) for place in standing if place.topic == "links"},
            touched={place: offset for place, offset in standing.items() if place.topic == "touched"},
        )

    async def _newest_version(self) -> int:
        """The largest label version that either store has seen: the new one must win over all of them."""
        newest = int((await reads.ask(self._warehouse, "labels"))[0][0] or 0)
        async for profile_id, data in self._store.scan("members"):
            newest = max(newest, values.unpack_members(profile_id, data).version)
        return newest

    async def _write(self, place: Place, writes: Writes) -> None:
        for part in refill.chunks(writes):
            await self._store.save(place, (await self._store.standing(place)).position, _UNKNOWN, part)

    async def _touch(self, profile_ids: Iterable[str]) -> None:
        """Have every profile evaluated: timers and read models come anew by that."""
        now_ms, topic = self._clock.now_ms(), self._settings.topic("touched")
        said = [
            Outgoing(
                topic,
                encode(Touched(profile_id=profile_id, node=profile_id, cause="rebuild", at_ms=now_ms)),
                key=profile_id.encode(),
            )
            for profile_id in profile_ids
        ]
        producer = await self._bus.producer()
        try:
            for start in range(0, len(said), refill.CHUNK):
                await producer.send(said[start : start + refill.CHUNK])
        finally:
            await producer.aclose()


@asynccontextmanager
async def _held(store: ProfileStore) -> AsyncIterator[None]:
    """Hold every writer, again and again since a hold lapses; let them go on at the end, however it comes."""

    async def again() -> None:
        while True:
            await asyncio.sleep(HOLD_AGAIN_S)
            with suppress(Transient):
                await store.hold(True)

    await store.hold(True)
    holding = asyncio.create_task(again())
    try:
        yield
    finally:
        holding.cancel()
        await store.hold(False)


async def _until(condition: Callable[[], Awaitable[bool]], within_s: float) -> bool:
    loop = asyncio.get_running_loop()
    end = loop.time() + within_s
    while not await condition():
        if loop.time() > end:
            return False
        await asyncio.sleep(LOOK_S)
    return True
