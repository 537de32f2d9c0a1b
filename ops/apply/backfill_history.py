"""Reading ClickHouse for a backfill: the events that feed registers, and who is a member by SQL."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Final

from ops.rebuild.profile_state import event_of
from warehouse import named_queries as reads
from warehouse.client import Warehouse
from runtime.bus.port import Bus
from runtime.settings import Settings
from schemas.events import Event
from domain.segments.plan import Plan
from domain.segments.sql import Query, membership
from domain.segments.sql.preview import size_and_sample

END: Final = (1 << 63) - 1
"""An offset after all others."""
Membership = Callable[[Plan, str, int], Query]
Offsets = Mapping[int, int]
Reach = Callable[[], Awaitable[Warehouse]]


class History:
    """ClickHouse as a backfill asks it, reached when it is first asked. `sql` makes the statement of a segment's members."""

    def __init__(self, settings: Settings, bus: Bus, reach: Reach, sql: Membership = membership) -> None:
        self._settings, self._bus, self._reach, self._sql = settings, bus, reach, sql

    async def positions(self, topic: str) -> dict[int, int]:
        """How far ClickHouse has consumed a topic of the register."""
        return dict(await reads.ask(await self._reach(), "positions", topic=self._settings.topic(topic)))

    async def holds(self, topic: str, offsets: Offsets) -> bool:
        """Whether ClickHouse has all before these offsets."""
        noted = await self.positions(topic)
        return all(noted.get(number, 0) >= offset for number, offset in offsets.items())

    async def ends(self, topic: str) -> dict[int, int]:
        """Where a topic of the register ends now."""
        return await self._bus.end_offsets(self._settings.topic(topic))

    async def count(self, labels: Sequence[str]) -> int:
        """About how many events have these labels."""
        return int((await reads.ask(await self._reach(), "events_of_count", labels=list(labels)))[0][0])

    async def events(self, labels: Sequence[str], starts: Offsets, ends: Offsets) -> AsyncIterator[list[tuple[int, int, Event]]]:
        """Events of these labels with offsets in [start, end) of their partition, as (partition, offset, event), block by block."""
        numbers = sorted(starts.keys() | ends.keys())
        bounds = {"starts": [starts.get(n, 0) for n in numbers], "ends": [ends.get(n, END) for n in numbers]}
        if not numbers or not labels:
            return
        async for block in reads.stream(await self._reach(), "events_of", labels=list(labels), partitions=numbers, **bounds):
            yield [(partition, offset, event_of(fields)) for *fields, partition, offset in block]

    async def owners_from(self, starts: Offsets) -> set[str]:
        """Whose events have come at these offsets or later."""
        if not starts:
            return set()
        numbers = sorted(starts)
        rows = await reads.ask(await self._reach(), "owners_from", partitions=numbers, starts=[starts[n] for n in numbers])
        return {row[0] for row in rows}

    async def in_households(self) -> set[str]:
        """Who contributes to a household."""
        return {row[0] for row in await reads.ask(await self._reach(), "household_members")}

    async def members(self, plan: Plan, name: str, at_ms: int) -> set[str]:
        """Who is in a segment at an instant, by its SQL over all events."""
        query = self._sql(plan, name, at_ms)
        return {row[0] async for block in (await self._reach()).stream(query.sql, query.parameters) for row in block}

    async def size_and_sample(self, plan: Plan, name: str, at_ms: int, most: int) -> tuple[int, tuple[str, ...]]:
        """How many are in a segment at an instant, and some of them, counted where the events are."""
        query = size_and_sample(plan, name, at_ms, most)
        members, some = (await (await self._reach()).rows(query.sql, query.parameters))[0]
        return members, tuple(some)

    async def shown(self, name: str) -> set[str]:
        """Who is in a segment by what was said of it."""
        return {row[0] for row in await reads.ask(await self._reach(), "members_of", segment=name)}
