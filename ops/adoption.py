"""Adopting another Kafka log: the old one is lost for good, and this one takes its place.

**Why.** Offsets stand in Redis and ClickHouse for ever. When Kafka's disk is lost, or another cluster answers under the same name,
new records would seem to be old ones. So processes refuse to work on another log, and an operator decides: this is the wrong
broker, or the old log is lost for good. Adopting raises the epoch, so that offsets count on from the old log to the new one
(`runtime.bus.epochs`).

**Invariant.** Redis is told last. The stream agents ask Redis, so they begin only when ClickHouse knows the log and the definitions
are on it. An adoption that is interrupted is completed by running it again: ClickHouse has the new epoch by then, and it is used
again.

**Example.** Kafka's directory was deleted. ClickHouse notes the new log as epoch 1, and every position as the beginning of it. The
40 definitions that ClickHouse has are written to the new topic. Every profile is touched, because touches that waited were lost
with the log. Then Redis notes the log, and a moment later the agents begin at its first record.

**What is lost.** Whatever lay in the old log alone: events, links and touches that waited, messages that waited for another
attempt. When Redis and ClickHouse had come to different offsets of it, they differ from now on, which `Adoption.stores_differ`
tells, and a rebuild mends.
"""

from dataclasses import dataclass
from typing import Final

from ops.adopted_logs import newest_log, read_identity, remember
from ops.apply.reevaluation import profiles_with_events
from ops.prepare import create_topics, declare_sources, write_keys
from profile_store.connect import open_store
from profile_store.port import ProfileStore, TopicPartition
from runtime.bus.compacted import read_to_end
from runtime.bus.epochs import AdoptedLog, first_offset
from runtime.bus.kafka import KafkaBus
from runtime.bus.log_guard import require_same_secret
from runtime.bus.port import Bus, Outgoing
from runtime.chunks import chunked
from runtime.clock import Clock, SystemClock
from runtime.settings import Settings
from schemas.codec import encode
from schemas.records import Touched
from schemas.topics import TOPICS
from warehouse import named_queries
from warehouse.adopted_logs import AdoptedLogTable
from warehouse.client import Warehouse
from warehouse.consumed import consumed_offsets
from warehouse.tables import POSITIONS

CHUNK: Final = 1_000
"""So many touches are sent at once."""


@dataclass(frozen=True, slots=True)
class Adoption:
    """What an adoption did: the epoch of the log, and how many definitions and touches were written to it."""

    epoch: int
    definitions: int
    profiles: int
    stores_differ: bool


async def adopt(settings: Settings) -> Adoption | None:
    """Adopt Kafka's log, and return what was done; None when the stores belong to it already. Raises Transient."""
    clock = SystemClock()
    store = open_store(settings, clock)
    warehouse = await Warehouse.connect(settings)
    try:
        async with KafkaBus(settings) as bus:
            adoption = await LogAdoption(settings, bus, store, warehouse, clock).run()
            if adoption is not None:
                await declare_sources(settings, bus, write_keys(settings))
            return adoption
    finally:
        await warehouse.aclose()
        await store.aclose()


class LogAdoption:
    """One adoption. `bus` is asked for what the log is, and written to; its offsets are not used."""

    def __init__(self, settings: Settings, bus: Bus, store: ProfileStore, warehouse: Warehouse, clock: Clock) -> None:
        self._settings = settings
        self._bus = bus
        self._store = store
        self._warehouse = warehouse
        self._clock = clock
        self._table = AdoptedLogTable(warehouse)

    async def run(self) -> Adoption | None:
        """Adopt the log; None when both stores belong to it already."""
        records = (self._table, self._store)
        await create_topics(self._settings, self._bus)
        identity, newest = await read_identity(self._settings, self._bus), await newest_log(records)
        if newest is not None:
            require_same_secret(newest, self._settings.secret_fingerprint)
        is_noted = newest is not None and not newest.identity.difference(identity)
        stored = await self._store.adopted_log()
        if is_noted and stored is not None and newest is not None and stored.epoch == newest.epoch:
            return None
        epoch = 0 if newest is None else newest.epoch if is_noted else newest.epoch + 1
        stores_differ = await self._stores_differ()
        adopted = AdoptedLog(epoch, identity, self._settings.secret_fingerprint)
        await remember((self._table,), adopted)
        await self._pass_old_log(first_offset(epoch))
        definitions = await self._restore_definitions()
        profiles = await self._touch_profiles()
        await remember((self._store,), adopted)
        return Adoption(epoch, definitions, profiles, stores_differ)

    async def _stores_differ(self) -> bool:
        """Return whether Redis and ClickHouse have come to different offsets of the old log."""
        for topic in ("events", "links"):
            name = self._settings.topic(topic)
            consumed, numbers = await consumed_offsets(self._warehouse, name), await self._bus.end_offsets(name)
            for number in numbers:
                checkpoint = await self._store.checkpoint(TopicPartition(topic, number, len(numbers)))
                if (checkpoint.position or 0) != consumed.get(number, 0):
                    return True
        return False

    async def _pass_old_log(self, offset: int) -> None:
        """Note in ClickHouse that everything before the new log is consumed: nothing of the old one will ever come."""
        names = [self._settings.topic(topic.name) for topic in TOPICS]
        rows = [(name, number, offset) for name in names for number in await self._bus.end_offsets(name)]
        await self._warehouse.insert(POSITIONS, rows)

    async def _restore_definitions(self) -> int:
        """Write the definitions that ClickHouse has to the new topic, except those that it has already. Return how many."""
        topic = self._settings.topic("definitions")
        present = await read_to_end(self._bus, topic)
        rows = await named_queries.fetch_rows(self._warehouse, "definition_records")
        return await self._send(
            [Outgoing(topic, value.encode(), key=key.encode()) for key, value in rows if key.encode() not in present]
        )

    async def _touch_profiles(self) -> int:
        """Ask for the evaluation of every profile. Return how many there are."""
        topic, now_ms = self._settings.topic("touched"), self._clock.now_ms()
        return await self._send(
            [
                Outgoing(
                    topic,
                    encode(Touched(profile_id=profile_id, node=profile_id, cause="rebuild", at_ms=now_ms)),
                    key=profile_id.encode(),
                )
                for profile_id in sorted(await profiles_with_events(self._store))
            ]
        )

    async def _send(self, records: list[Outgoing]) -> int:
        producer = await self._bus.producer()
        try:
            for chunk in chunked(records, CHUNK):
                await producer.send(chunk)
        finally:
            await producer.aclose()
        return len(records)
