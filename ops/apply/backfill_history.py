"""What a backfill reads from ClickHouse: the events that feed registers, and the members of segments by SQL."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from typing import Final

from domain.segments.plan import SegmentPlan
from domain.segments.sql.compile import membership_query
from domain.segments.sql.preview import preview_query
from domain.segments.sql.query import SqlQuery
from runtime.bus.port import Bus
from runtime.settings import Settings
from schemas.events import Event
from schemas.records import GroupRecord
from warehouse import named_queries
from warehouse.client import Warehouse
from warehouse.consumed import consumed_offsets
from warehouse.group_records import stream_group_records
from warehouse.rows import event_from_row

END_OFFSET: Final = (1 << 63) - 1
"""An offset after all others."""
MembershipQuery = Callable[[SegmentPlan, str, int], SqlQuery]
Offsets = Mapping[int, int]
ConnectWarehouse = Callable[[], Awaitable[Warehouse]]


class BackfillHistory:
    """Reads history; ClickHouse is connected with the first query. `sql` compiles the statement of a segment's members."""

    def __init__(self, settings: Settings, bus: Bus, connect: ConnectWarehouse, sql: MembershipQuery = membership_query) -> None:
        self._settings = settings
        self._bus = bus
        self._connect = connect
        self._sql = sql

    async def consumed_offsets(self, topic: str) -> dict[int, int]:
        """Return by partition how far ClickHouse has consumed a topic of the register."""
        return await consumed_offsets(await self._connect(), self._settings.topic(topic))

    async def end_offsets(self, topic: str) -> dict[int, int]:
        """Return by partition where a topic of the register ends now."""
        return await self._bus.end_offsets(self._settings.topic(topic))

    async def count_events(self, labels: Sequence[str]) -> int:
        """Return approximately how many events have these labels."""
        return int((await named_queries.fetch_rows(await self._connect(), "count_events_by_label", labels=list(labels)))[0][0])

    async def events(self, labels: Sequence[str], starts: Offsets, ends: Offsets) -> AsyncIterator[list[tuple[int, int, Event]]]:
        """Yield the events of these labels in [start, end) of their partition, as (partition, offset, event), block by block."""
        partitions = sorted(starts.keys() | ends.keys())
        bounds = {"starts": [starts.get(n, 0) for n in partitions], "ends": [ends.get(n, END_OFFSET) for n in partitions]}
        if not partitions or not labels:
            return
        async for block in named_queries.stream_rows(
            await self._connect(), "events_by_label", labels=list(labels), partitions=partitions, **bounds
        ):
            yield [(partition, offset, event_from_row(fields)) for *fields, partition, offset in block]

    async def owners_from(self, starts: Offsets) -> set[str]:
        """Return the owners of the events at these offsets or later."""
        if not starts:
            return set()
        partitions = sorted(starts)
        rows = await named_queries.fetch_rows(
            await self._connect(), "owners_since_offsets", partitions=partitions, starts=[starts[n] for n in partitions]
        )
        return {row[0] for row in rows}

    async def account_traits(self, names: Collection[str]) -> AsyncIterator[GroupRecord]:
        """Yield a record for each of these traits of each account that has it."""
        async for record in stream_group_records(await self._connect()):
            if record.traits and not record.profile_id and not record.traits.keys().isdisjoint(names):
                yield record

    async def household_members(self) -> set[str]:
        """Return the profiles that contribute to a household."""
        return {row[0] for row in await named_queries.fetch_rows(await self._connect(), "household_members")}

    async def members(self, plan: SegmentPlan, name: str, at_ms: int) -> set[str]:
        """Return the members of a segment at an instant, by its SQL over all events."""
        query = self._sql(plan, name, at_ms)
        return {row[0] async for block in (await self._connect()).stream_query(query.sql, query.parameters) for row in block}

    async def size_and_sample(self, plan: SegmentPlan, name: str, at_ms: int, sample_size: int) -> tuple[int, tuple[str, ...]]:
        """Return how many are in a segment at an instant, and some of them, without moving the ids of all."""
        query = preview_query(plan, name, at_ms, sample_size)
        member_count, sample = (await (await self._connect()).query(query.sql, query.parameters))[0]
        return member_count, tuple(sample)

    async def published_members(self, name: str) -> set[str]:
        """Return the members of a segment by the transitions that were published."""
        return {row[0] for row in await named_queries.fetch_rows(await self._connect(), "segment_members", segment=name)}
