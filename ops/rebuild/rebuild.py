"""Law 7, done: the profile store made anew from ClickHouse. Stream workers wait meanwhile and go on by themselves.

Positions are written last: a rebuild that is cut off leaves a store that says it stands at the beginning, never one that says
it holds what it does not. Workers that notice read the log again, which is harmless; running the rebuild again completes it.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from ops import definitions_topic as definitions
from ops.rebuild import refill, profile_state as state
from ops.writers_pause import (LOOK_S, holding, places_of, until)
from ops.rebuild.refill import (Documents, Identities, Past, Places)
from ops.rebuild.profile_state import Recomputed
from profile_store import encoding as values
from domain.identity.groups import held_by
from profile_store.port import DEFINITIONS, Members, Place, ProfileStore, Writes
from warehouse import group_records as groups, named_queries as reads
from warehouse.client import Warehouse
from runtime.bus.port import Bus, Outgoing
from runtime.clock import Clock
from runtime.errors import Transient
from runtime.settings import Settings
from schemas.codec import encode
from schemas.records import Grouped, Touched
from domain.identity.rules import Rules
from domain.segments.plan import Plan
from streams.steps.link import identity_of

KINDS: Final = ("fragment", "membership", "group", "unsaid", "label", "members", "edges", "timer", "position")
STILL_S: Final = 2.0
CATCH_UP_S: Final = 120.0
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
        plan, rules = await self._defined()
        async with holding(self._store):
            standing = await self._stand_still()
            await self._caught_up(standing)
            before = state.state_hash(await state.of_redis(self._store), plan.registers)
            version, told = 1 + await self._newest_version(), [said async for said in groups.records(self._warehouse)]
            past = await _past(self._warehouse, told)
            places = await self._places(standing)
            recomputed = await state.of_clickhouse(
                self._warehouse, plan, rules, {place.partition: offset for place, offset in places.events.items()}
            )
            found = refill.identities(recomputed, past, version, self._clock.now_ms())
            transitions = await reads.ask(self._warehouse, "transitions")
            held = refill.membership_documents(transitions, found, past, recomputed, places.touched)
            documents = (refill.fragments(recomputed, places.events), held, refill.group_documents(told, places.groups))
            await self._refill(recomputed, found, documents, places)
            after = state.state_hash(await state.of_redis(self._store), plan.registers)
            profiles = recomputed.state.profiles()
            profile_ids = {profile_id for entries in held.values() for _, profile_id in entries}
            await self._say(found, sorted(profiles.keys() | profile_ids))
        return Rebuilt(recomputed.events, len(recomputed.state.fragments), len(profiles), len(profile_ids), before, after)

    async def _defined(self) -> tuple[Plan, Rules]:
        known = await definitions.live(self._settings, self._bus)
        plan = Plan(known.values())
        return plan, state.rules_of(self._settings, known)

    async def _refill(self, recomputed: Recomputed, found: Identities, documents: Iterable[Documents], places: Places) -> None:
        """Give the old state up and write the new one, the positions last."""
        presumed = (await self._store.standing(DEFINITIONS)).definitions
        await self._store.wipe(KINDS)
        for entries in documents:
            for place, held in entries.items():
                await self._write(place, Writes(documents=held))
        kept = recomputed.kept
        for place in places.links:
            writes = Writes(labels=found.labels, members=found.members, edges=kept.edges, decisions=kept.decisions)
            await self._write(place, writes)
        for place, offset in {DEFINITIONS: presumed, **places.all()}.items():
            await self._store.save(place, (await self._store.standing(place)).position, offset, Writes())

    async def _stand_still(self) -> dict[Place, int]:
        """The positions once no worker has moved one for a while: slices in hand when the hold came have ended."""
        places = await places_of(self._settings, self._bus, "events", "links", "touched", "groups")
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
        """Wait until ClickHouse has all that the store has seen, and all that was said of profiles."""
        wanted: dict[str, dict[int, int]] = {
            topic: await self._bus.end_offsets(self._settings.topic(topic))
            for topic in ("identities", "memberships", "profiles", "groups")
        }
        for topic in ("events", "links"):
            wanted[topic] = {place.partition: offset for place, offset in standing.items() if place.topic == topic}

        async def arrived() -> bool:
            for topic, offsets in wanted.items():
                noted = await self._noted(topic)
                if any(noted.get(partition, _UNKNOWN) < offset for partition, offset in offsets.items()):
                    return False
            return True

        if not await until(arrived, CATCH_UP_S):
            raise Transient("ClickHouse lags behind the profile store: are the consumers running? nothing was changed")

    async def _noted(self, topic: str) -> dict[int, int]:
        return dict(await reads.ask(self._warehouse, "positions", topic=self._settings.topic(topic)))

    async def _places(self, standing: Mapping[Place, int]) -> Places:
        """What the refilled state stands for: ClickHouse's positions; where the segment agent stood stays."""
        events, links, told = await self._noted("events"), await self._noted("links"), await self._noted("groups")
        return Places(
            events={place: events.get(place.partition, _UNKNOWN) for place in standing if place.topic == "events"},
            links={place: links.get(place.partition, _UNKNOWN) for place in standing if place.topic == "links"},
            touched={place: offset for place, offset in standing.items() if place.topic == "touched"},
            groups={place: told.get(place.partition, _UNKNOWN) for place in standing if place.topic == "groups"},
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

    async def _say(self, found: Identities, profile_ids: Iterable[str]) -> None:
        """Tell ClickHouse who the profiles consist of, and have them evaluated: timers and read models come anew by that."""
        identities, touched, now_ms = self._settings.topic("identities"), self._settings.topic("touched"), self._clock.now_ms()
        said = [Outgoing(identities, encode(identity_of(name, entry)), key=name.encode()) for name, entry in found.members.items()]
        said += [
            Outgoing(
                touched,
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


async def _past(warehouse: Warehouse, told: Iterable[Grouped]) -> Past:
    profiles = {
        profile_id: Members(tuple(nodes), version, *rest)
        for profile_id, version, nodes, *rest in await reads.ask(warehouse, "known_profiles")
    }
    evaluated = await reads.ask(warehouse, "evaluated")
    return Past(
        labels=dict(await reads.ask(warehouse, "known_labels")),
        profiles=profiles,
        evaluated={profile_id: version for profile_id, version, _ in evaluated},
        shown=frozenset(profile_id for profile_id, _, shown in evaluated if shown),
        contributed=held_by(told),
    )
