"""Timers: when a profile's instant comes, say `touched` for it. The segment agent then sets the next one, or clears it.

A timer stands in the store until its evaluation, so nothing is lost with this process, and a touch that was said is durable: the
place's position tells when it was evaluated. Since nobody else sets timers of a place, the store is asked only when one is due.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from profile_store.port import ProfileStore, TopicPartition
from runtime.bus.port import Producer
from runtime.clock import Clock
from runtime.errors import Transient
from runtime.settings import Settings
from schemas.instants import NEVER
from schemas.records import Touched
from streams.assigned_partitions import AssignedPartitions
from streams.in_flight_timers import InFlightTimers
from streams.steps.common import touch_record

TICK_S: Final = 0.01
"""How often it is seen, in memory, whether a timer is due or room for more has come."""
MAX_IN_FLIGHT: Final = 500
"""Touches that may wait for their evaluation, of all places together. A live touch waits no longer than these take: an eighth of
a second when the agent does 4,000 a second, however many timers are due at one instant. More do not make the agent faster."""
MIN_ROOM: Final = 16
RETRY_S: Final = 0.5


class Timers:
    """Says the due timers of the places that the segment agent has now, the earliest first. `observe_lateness` gets ms from due
    to said."""

    def __init__(
        self,
        settings: Settings,
        *,
        store: ProfileStore,
        producer: Producer,
        clock: Clock,
        assigned: AssignedPartitions,
        observe_lateness: Callable[[int], None],
    ) -> None:
        self._settings = settings
        self._store = store
        self._producer = producer
        self._clock = clock
        self._assigned = assigned
        self._observe_lateness = observe_lateness
        self._in_flight: dict[TopicPartition, InFlightTimers] = {}
        self._busy: set[TopicPartition] = set()

    async def run(self) -> None:
        """Say what becomes due, for ever. A place that has to wait for the store or the broker holds no other one back."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                for topic_partition in self.partitions_to_poll():
                    self._busy.add(topic_partition)
                    tasks.create_task(self._emit_due_or_wait(topic_partition), name=f"timers {topic_partition.guard_name}")
                await asyncio.sleep(self._sleep_s())

    def partitions_to_poll(self) -> list[TopicPartition]:
        """The places where something may be due for which there is room. Asks memory only."""
        topic_partitions = self._assigned.all()
        room = max(MIN_ROOM, MAX_IN_FLIGHT // max(1, len(topic_partitions)))
        self._in_flight = {
            topic_partition: self._in_flight.get(topic_partition) or InFlightTimers() for topic_partition in topic_partitions
        }
        now_ms = self._clock.now_ms()
        for place, timers in self._in_flight.items():
            timers.update(self._assigned.position(place), self._assigned.pop_earliest_timer(place), room)
        return [place for place, window in self._in_flight.items() if place not in self._busy and window.should_poll(now_ms)]

    async def emit_due(self, topic_partition: TopicPartition) -> int:
        """Say what is due at `topic_partition`, as far as there is room; returns how many. Raises Transient, and can be called
        again then."""
        in_flight, now_ms = self._in_flight[topic_partition], self._clock.now_ms()
        limit = in_flight.begin_poll(now_ms)
        due = await self._store.due_timers(topic_partition, now_ms, limit)
        next_ms = now_ms if len(due) == limit else await self._store.next_timer(topic_partition, now_ms)
        to_emit = in_flight.select(due, NEVER if next_ms is None else next_ms, now_ms)
        if not to_emit:
            return 0
        try:
            positions = await self._producer.send(
                [
                    touch_record(self._settings, Touched(profile_id=profile_id, node=profile_id, cause="timer", at_ms=due_ms))
                    for profile_id, due_ms in to_emit
                ]
            )
        except Transient:
            in_flight.retry_at_once()
            raise
        emitted_ms = self._clock.now_ms()
        for (profile_id, due_ms), (partition, offset) in zip(to_emit, positions, strict=True):
            in_flight.mark_emitted(profile_id, due_ms, offset if partition == topic_partition.partition else None)
            self._observe_lateness(max(0, emitted_ms - due_ms))
        return len(to_emit)

    async def _emit_due_or_wait(self, topic_partition: TopicPartition) -> None:
        try:
            await self.emit_due(topic_partition)
        except Transient:
            await asyncio.sleep(RETRY_S)
        finally:
            self._busy.discard(topic_partition)

    def _sleep_s(self) -> float:
        now_ms = self._clock.now_ms()
        next_ms = min((timers.next_ms for timers in self._in_flight.values()), default=NEVER)
        return min(TICK_S, max(0.001, (next_ms - now_ms) / 1000)) if next_ms > now_ms else TICK_S
