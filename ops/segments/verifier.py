"""Law 4, looked at in production: who the stream has in each segment, and who ClickHouse's SQL has, at the same instant."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from ops.writers_pause import until
from ops.segments import profile_snapshot as person
from domain.profiles import membership as memberships
from profile_store.port import Place, ProfileStore
from warehouse.client import Warehouse
from runtime.bus.port import Bus, Outgoing, Producer
from runtime.clock import Clock
from runtime.errors import Invalid, Transient
from runtime.settings import Settings
from schemas.codec import encode
from schemas.records import Touched
from domain.segments.explain import Explainer
from domain.identity.rules import Rules
from domain.segments.plan import Plan
from domain.segments.sql import Query

LOOKS: Final = 5
"""How often profiles that differ are looked at: what differs once may be an event on its way."""
PAUSE_S: Final = 3.0
"""Between two looks: longer than an event, a label or a timer takes to reach both stores."""
CHUNK: Final = 1_000
"""Profiles that one question to a store names, and touches that wait for their evaluation at most."""
MOST_EXPLAINED: Final = 200
"""Of how many differing profiles of a segment the cause is looked for."""
REPAIR_S: Final = 120.0
"""How long the segment agent may take for those."""
LOOK_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Differing:
    """Profiles that only one of the two has in a segment."""

    stream: frozenset[str] = frozenset()
    sql: frozenset[str] = frozenset()

    @property
    def profiles(self) -> frozenset[str]:
        """All of them."""
        return self.stream | self.sql


@dataclass(frozen=True, slots=True)
class Causes:
    """Why profiles differ, of the first MOST_EXPLAINED: a register was too small (`approximate`; `leaves` are those, in words, with
    how many profiles each); an evaluation would mend it (`stale`); the registers hold something else than history (`registers`)."""

    approximate: int = 0
    stale: int = 0
    registers: int = 0
    leaves: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Compared:
    """One segment: how many profiles both have in it, and those that kept differing."""

    segment: str
    version: str
    both: int
    differing: Differing = Differing()
    causes: Causes = Causes()

    @property
    def agrees(self) -> bool:
        """Whether both say the same."""
        return not self.differing.profiles


@dataclass(frozen=True, slots=True)
class Verified:
    """All segments that were looked at, in order; how often, and the instant of the last look. `repaired` is how many profiles were
    evaluated anew, None when that was not asked for."""

    segments: tuple[Compared, ...]
    looks: int
    at_ms: int
    repaired: int | None = None

    @property
    def agrees(self) -> bool:
        """Whether stream and SQL say the same of all."""
        return all(one.agrees for one in self.segments)


@dataclass(frozen=True, slots=True)
class Verifier:
    """`membership` makes the SQL of a segment at an instant. `pause_s` lies between two looks at what differs."""

    settings: Settings
    store: ProfileStore
    warehouse: Callable[[], Awaitable[Warehouse]]
    bus: Bus
    clock: Clock
    plan: Callable[[], Plan]
    rules: Callable[[], Rules]
    membership: Callable[[Plan, str, int], Query]
    pause_s: float = PAUSE_S
    looks: int = LOOKS

    async def verify(self, names: Sequence[str] = (), *, repair: bool = False) -> Verified:
        """Compare the segments `names` (none: all). With `repair`, what keeps differing is evaluated anew and compared again.

        Raises Invalid for a segment that does not exist, Transient when a store or the broker is away.
        """
        plan = self.plan()
        unknown = sorted(set(names) - plan.segments.keys())
        if unknown:
            raise Invalid(f"no segment is called {', '.join(unknown)}", path="segment", reason="unknown_segment")
        looking = _Looking(self, plan, sorted(set(names) or plan.segments.keys()))
        await looking.first()
        await looking.again()
        if not repair:
            return await looking.result()
        wanted = sorted({profile for differing in looking.differing.values() for profile in differing.profiles})
        if wanted:
            await self._touch(wanted)
            await looking.again()
        return await looking.result(repaired=len(wanted))

    async def _touch(self, profile_ids: Sequence[str]) -> None:
        """Have profiles evaluated anew, and wait until the segment agent has come past that; a few at a time, so that live touches
        do not wait behind them."""
        partitions = len(await self.bus.end_offsets(self.settings.topic("touched")))
        producer = await self.bus.producer()
        try:
            for part in _chunks(profile_ids):
                ends = await self._say(producer, part)
                if not await until(partial(self._passed, ends, partitions), REPAIR_S, LOOK_S):
                    raise Transient("the segment agent does not come to what was said to it: are the stream workers running?")
        finally:
            await producer.aclose()

    async def _say(self, producer: Producer, profile_ids: Sequence[str]) -> dict[int, int]:
        """Say touches; the last offset of each partition."""
        topic, now_ms = self.settings.topic("touched"), self.clock.now_ms()
        said = [Touched(profile_id=name, node=name, cause="reconcile", at_ms=now_ms) for name in profile_ids]
        ends: dict[int, int] = {}
        for number, offset in await producer.send([Outgoing(topic, encode(one), key=one.profile_id.encode()) for one in said]):
            ends[number] = max(ends.get(number, 0), offset)
        return ends

    async def _passed(self, ends: Mapping[int, int], partitions: int) -> bool:
        places = {Place("touched", number, partitions): offset for number, offset in ends.items()}
        return all([((await self.store.standing(place)).position or 0) > offset for place, offset in places.items()])


@dataclass(slots=True)
class _Looking:
    """One comparison under way."""

    of: Verifier
    plan: Plan
    names: Sequence[str]
    both: dict[str, int] = field(default_factory=dict)
    differing: dict[str, Differing] = field(default_factory=dict)
    looks: int = 0
    at_ms: int = 0

    async def first(self) -> None:
        """All profiles. Of each segment one set is held, of ids in 16 bytes: what both have leaves it again."""
        self.looks, self.at_ms = 1, self.of.clock.now_ms()
        stream: dict[str, set[bytes]] = {name: set() for name in self.names}
        async for profile_id, data in self.of.store.scan("membership"):
            for name in _held(data) & stream.keys():
                stream[name].add(bytes.fromhex(profile_id))
        warehouse = await self.of.warehouse()
        for name in self.names:
            left, only_sql, both = stream.pop(name), set(), 0
            query = self.of.membership(self.plan, name, self.at_ms)
            async for block in warehouse.stream(query.sql, query.parameters):
                for (profile_id,) in block:
                    found = bytes.fromhex(profile_id)
                    if found in left:
                        left.remove(found)
                        both += 1
                    else:
                        only_sql.add(profile_id)
            self.both[name] = both
            self.differing[name] = Differing(frozenset(found.hex() for found in left), frozenset(only_sql))

    async def again(self) -> None:
        """Those that differ, until none does or it was looked at often enough."""
        for _ in range(self.of.looks - 1):
            if not any(differing.profiles for differing in self.differing.values()):
                return
            await asyncio.sleep(self.of.pause_s)
            self.looks, self.at_ms = self.looks + 1, self.of.clock.now_ms()
            for name, differing in self.differing.items():
                if differing.profiles:
                    await self._look(name, differing.profiles)

    async def result(self, repaired: int | None = None) -> Verified:
        """What came out, with the causes of what differs."""
        found = [
            Compared(name, self.plan.versions[name], self.both[name], self.differing[name], await self._causes(name))
            for name in self.names
        ]
        return Verified(tuple(found), self.looks, self.at_ms, repaired)

    async def _look(self, name: str, profile_ids: frozenset[str]) -> None:
        stream: set[str] = set()
        for part in _chunks(sorted(profile_ids)):
            for profile_id, document in (await self.of.store.documents("membership", part)).items():
                if name in _held(document.data):
                    stream.add(profile_id)
        sql = await self._sql(name, profile_ids)
        self.both[name] += len(stream & sql)
        self.differing[name] = Differing(frozenset(stream - sql), frozenset(sql - stream))

    async def _sql(self, name: str, profile_ids: frozenset[str]) -> set[str]:
        """Who of these profiles is a member by history at `at_ms`."""
        query, warehouse = self.of.membership(self.plan, name, self.at_ms), await self.of.warehouse()
        if len(profile_ids) > CHUNK:
            blocks = warehouse.stream(query.sql, query.parameters)
            return {row[0] async for block in blocks for row in block if row[0] in profile_ids}
        narrowed = f"SELECT profile_id FROM ({query.sql}) WHERE profile_id IN {{looked_at:Array(String)}}"  # noqa: S608 - our own SQL
        rows = await warehouse.rows(narrowed, {**query.parameters, "looked_at": sorted(profile_ids)})
        return {row[0] for row in rows}

    async def _causes(self, name: str) -> Causes:
        counts, leaves = dict.fromkeys(("approximate", "stale", "registers"), 0), Counter[str]()
        differing, explainer = self.differing[name], Explainer(self.plan)
        household = self.of.rules().household
        for profile_id in sorted(differing.profiles)[:MOST_EXPLAINED]:
            who = await person.read(self.of.settings, self.of.store, self.plan, household, profile_id)
            if who is None or who.profile_id != profile_id:
                counts["stale"] += 1
                continue
            found = explainer.at(name, who.facts, self.at_ms)
            small = {one.text for one in found.walk() if one.approximate}
            if found.holds is (profile_id in differing.sql):
                counts["stale"] += 1
            elif small:
                counts["approximate"] += 1
                leaves.update(small)
            else:
                counts["registers"] += 1
        return Causes(**counts, leaves=tuple(leaves.most_common()))


def _held(data: bytes | None) -> set[str]:
    """The segments that a membership document has its profile in."""
    document = memberships.decode(data)
    return set() if document.dissolved_into else document.held()


def _chunks(names: Sequence[str]) -> Iterable[Sequence[str]]:
    return (names[start : start + CHUNK] for start in range(0, len(names), CHUNK))
