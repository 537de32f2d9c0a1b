"""Timers: when the instant of a profile comes, emit a touch for it, so that the segment agent evaluates the profile.

**Why.** A membership may change only because time passes: "called within the last hour" ends an hour after the call, with no event
at that moment. Each profile has at most one timer in the store, set by its last evaluation: the next instant at which anything can
change by itself. This module writes a `touched` record when the instant comes. It changes nothing in the store.

**Invariant.** A timer is removed from the store only by the evaluation that its touch causes, in the same save as the result. So
nothing is lost with this process: whichever worker has the partition next reads the same timers and emits them again. A touch
that is emitted twice is harmless, since the second evaluation finds nothing left to do. `in_flight_timers` keeps a partition from
emitting the same timer again and again.

**The store is polled only when a timer is due.** Only the segment agent sets the timers of its partition, and it runs in this
process: `AssignedPartitions` tells the earliest instant that was set since the last poll. A backfill of definitions writes from
elsewhere, and raises the partition's fence before it does. The agent notices that within a second, and the partition is polled.

**Example.** An event at 10:00:00.000 matches "within 1h". Its evaluation saves the membership with a timer for 11:00:00.000, and
the partition's next poll is planned for that instant. At 11:00:00.004 the poll finds the timer and writes a touch with
`at_ms` = 11:00:00.000 at offset 812: 4 ms late (stage `emitted`). The segment agent reads it, takes the profile out of the segment
as of 11:00:00.000, clears the timer and moves the position to 813. Had the worker died after the write, the next one would have
found the timer still set and written a second touch, which would have changed nothing.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import Final

from profile_store.port import ProfileStore, TopicPartition
from runtime.bus.port import Producer
from runtime.clock import Clock
from runtime.errors import Transient
from runtime.retry import Backoff
from runtime.settings import Settings
from schemas.instants import NEVER
from schemas.records import Touched
from streams.assigned_partitions import AssignedPartitions
from streams.in_flight_timers import InFlightTimers
from streams.steps.common import touch_record

TICK_S: Final = 0.01
"""How often this process looks, in memory, whether a timer is due and whether there is room for it."""
POLL_INTERVAL_S: Final = 0.05
"""The least time between two polls of a partition, unless the last one left due timers behind."""
MAX_IN_FLIGHT: Final = 500
"""How many timers may be in flight, over all partitions of this worker. The touch of a live event waits behind these at most: an
eighth of a second at 4,000 evaluations a second, however many timers are due at one instant. More would not be faster."""
MIN_ROOM: Final = 16
"""The room of a partition when so many are assigned that its share of MAX_IN_FLIGHT would be smaller."""
RETRY_BASE_MS: Final = 200
RETRY_MAX_MS: Final = 1_000
"""The longest wait of a partition after its poll or its touches failed: so late can its timers be once the fault is over."""


class Timers:
    """Emits the due timers of the partitions that the segment agent is assigned, the earliest first.

    `observe_lateness` is called for each touch with the milliseconds from the timer's instant until the touch was durable.
    """

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
        self._backoffs: defaultdict[TopicPartition, Backoff] = defaultdict(lambda: Backoff(RETRY_BASE_MS, RETRY_MAX_MS))

    async def run(self) -> None:
        """Emit what becomes due, until cancelled.

        Each partition is polled in a task of its own, so a partition whose shard of the store does not answer does not delay the
        others.
        """
        async with asyncio.TaskGroup() as tasks:
            while True:
                for topic_partition in self.partitions_to_poll():
                    self._busy.add(topic_partition)
                    tasks.create_task(self._emit_due_or_wait(topic_partition), name=f"timers {topic_partition.guard_name}")
                await asyncio.sleep(self._sleep_s())

    def partitions_to_poll(self) -> list[TopicPartition]:
        """Return the partitions where a timer may be due and may be emitted. Looks at memory alone, never at the store."""
        topic_partitions = self._assigned.all()
        room = max(MIN_ROOM, MAX_IN_FLIGHT // max(1, len(topic_partitions)))
        # Partitions that were revoked are dropped here. One that comes back starts without any memory: it is polled at once.
        self._in_flight = {
            topic_partition: self._in_flight.get(topic_partition) or InFlightTimers() for topic_partition in topic_partitions
        }
        now_ms = self._clock.now_ms()
        for topic_partition, timers in self._in_flight.items():
            timers.update(self._assigned.position(topic_partition), self._assigned.pop_earliest_timer(topic_partition), room)
        return [
            topic_partition
            for topic_partition, timers in self._in_flight.items()
            if topic_partition not in self._busy and timers.should_poll(now_ms)
        ]

    async def emit_due(self, topic_partition: TopicPartition) -> int:
        """Emit what is due in `topic_partition`, as far as there is room. Returns how many touches were written.

        Raises Transient when the store or the broker does not answer. It can be called again then: some of the touches may have
        been written, and they are written once more.
        """
        in_flight, now_ms = self._in_flight[topic_partition], self._clock.now_ms()
        limit = in_flight.begin_poll()
        due = await self._store.due_timers(topic_partition, now_ms, limit)
        # A poll that was cut off at its limit is followed by another one at once, so the next instant is of no use.
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
            # Keyed by its profile, a touch goes to the partition of its timer, unless the number of partitions has changed.
            in_flight.mark_emitted(profile_id, due_ms, offset if partition == topic_partition.partition else None)
            self._observe_lateness(max(0, emitted_ms - due_ms))
        return len(to_emit)

    async def _emit_due_or_wait(self, topic_partition: TopicPartition) -> None:
        try:
            await self.emit_due(topic_partition)
            self._backoffs[topic_partition].reset()
            timers = self._in_flight.get(topic_partition)  # None if the partition was revoked during the poll
            if timers is not None and not timers.has_more:
                # A sleep and no comparison of instants, because it must end even where the clock stands or goes back.
                await asyncio.sleep(POLL_INTERVAL_S)
        except Transient:
            # Not logged: the slices of this partition wait for the same store or broker, and log that.
            await self._backoffs[topic_partition].wait()
        finally:
            self._busy.discard(topic_partition)

    def _sleep_s(self) -> float:
        """Return how long the loop sleeps: until the next instant, but no longer than a tick, since room may come at any time."""
        now_ms = self._clock.now_ms()
        next_ms = min((timers.next_ms for timers in self._in_flight.values()), default=NEVER)
        return min(TICK_S, max(0.001, (next_ms - now_ms) / 1000)) if next_ms > now_ms else TICK_S
