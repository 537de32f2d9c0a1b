"""An agent: a step, the source that brings its slices, and the applier that turns its decisions into effects.

An agent is a consumer group of its own, so agents can be spread over processes in any way. Its life is a sequence of assignments:
`on_assigned` reads the stored positions and lets the queues run, `on_revoked` stops them and waits for the slices in hand.
"""

import asyncio
from collections.abc import Collection, Mapping
from typing import Final

from profile_store.port import ProfileStore
from runtime.bus.port import Bus, Partition, Producer
from runtime.clock import Clock
from runtime.errors import StateLost, Transient
from runtime.logs import get_logger
from runtime.retry import retry
from runtime.settings import Settings
from streams.applier import Applier, ExitCode, Stop
from streams.assigned_partitions import AssignedPartitions
from streams.partition_queues import PartitionQueues
from streams.slice_source import DeliveredSlice, OpenSliceSource
from streams.step import Step

log: Final = get_logger(__name__)

POLL_INTERVAL_S: Final = 1.0
"""How often the positions in the store are checked, and whether the source still reads."""
ASSIGN_RETRY_BASE_MS: Final = 200
ASSIGN_RETRY_MAX_MS: Final = 5_000
REVOKE_TIMEOUT_S: Final = 5.0
"""How long a rebalance waits for the slices that are being applied: half of the default session timeout, and far below the
rebalance timeout."""
SHUTDOWN_TIMEOUT_S: Final = 15.0
"""How long an orderly stop waits for the slices that are being applied."""


class Agent:
    """Runs `step` as a member of its consumer group. `stop` is called with the reason when the process must start again.

    `store` is None for a step that keeps no state. The agent is the `Assignment` of its source.
    """

    def __init__(
        self,
        settings: Settings,
        step: Step,
        *,
        bus: Bus,
        store: ProfileStore | None,
        producer: Producer,
        clock: Clock,
        stop: Stop,
        open_source: OpenSliceSource,
    ) -> None:
        self.name = step.name
        self.topic = step.topic
        self.assigned = AssignedPartitions(bus, store, step.topic, settings.replay_margin)
        self.ready = asyncio.Event()
        """Set once the agent has had its first assignment, even one of no partitions."""
        self._stop = stop
        self._stopping = False
        self._applier = Applier(settings, step, assigned=self.assigned, store=store, producer=producer, clock=clock, stop=stop)
        self._queues = PartitionQueues(self._handle, self._on_queue_failed)
        self._source = open_source(
            settings, step.name, step.topic, assignment=self, deliver=self._queues.put, first_offset=bus.first_offset
        )

    async def start(self) -> None:
        """Join the group. Returns before partitions are assigned: `ready` is set then."""
        await self._source.start()

    async def watch(self) -> None:
        """Check once a second that the source still reads and that the store has lost nothing, until cancelled.

        Slices check the store as well, but a partition may be without records for hours.
        """
        while True:
            await asyncio.sleep(POLL_INTERVAL_S)
            if self._source.ended and not self._stopping:
                log.error("source_ended", agent=self.name)
                self._stop(ExitCode.CONSUMER)
                return
            try:
                await self.assigned.check_all()
            except StateLost as error:
                log.error("state_lost", agent=self.name, reason=str(error))  # noqa: TRY400 - the text says all
                self._stop(ExitCode.STATE_LOST)
                return
            except Transient:
                continue  # the slices wait for the store as well, and log it

    async def aclose(self) -> None:
        """Stop in order: finish the slices that are being applied, commit them, and leave the consumer group."""
        self._stopping = True
        if not await self._queues.pause(SHUTDOWN_TIMEOUT_S):
            log.warning("slice_dropped", agent=self.name)  # not acknowledged, so Kafka delivers it again
        if self.ready.is_set() and not self._source.ended:
            await self._source.commit()
        await self.abort()

    async def abort(self) -> None:
        """Stop at once: abandon the slices that are being applied and leave the consumer group without a commit.

        Those slices are read again by the worker that is assigned the partition next.
        """
        self._stopping = True
        await self._source.aclose()
        await self._queues.aclose()

    async def on_assigned(self, partitions: Collection[Partition]) -> Mapping[Partition, int]:
        """Return the stored positions of the partitions and start their queues. Waits for the store as long as it takes."""
        starts = await retry(
            # `assign` starts from nothing each time, so a call that failed half way may be made again.
            lambda: self.assigned.assign(partitions),
            attempts=None,
            base_ms=ASSIGN_RETRY_BASE_MS,
            max_ms=ASSIGN_RETRY_MAX_MS,
            on_retry=lambda _, error: log.warning("assignment_waits", agent=self.name, exc_info=error),
        )
        if not self._stopping:
            self._queues.resume()
        self.ready.set()
        log.info("assigned", agent=self.name, starts={partition.number: offset for partition, offset in starts.items()})
        return starts

    async def on_revoked(self) -> None:
        """Start no more slices, and wait at most REVOKE_TIMEOUT_S for those that are being applied."""
        await self._queues.pause(REVOKE_TIMEOUT_S)

    def on_failure(self, error: BaseException) -> None:
        """Ask the process to start again: the source cannot go on."""
        log.error("source_failed", agent=self.name, exc_info=error)
        self._stop(ExitCode.CONSUMER)

    def _on_queue_failed(self, error: BaseException) -> None:
        log.error("partition_queue_failed", agent=self.name, exc_info=error)
        self._stop(ExitCode.BUG)

    async def _handle(self, delivered: DeliveredSlice) -> bool:
        """Apply a slice and acknowledge it. One from before a rebalance is left to the worker that has its partition now."""

        def is_current() -> bool:
            return not self._stopping and delivered.generation == self._source.generation

        topic_partition = self.assigned.get(delivered.partition.number)
        if topic_partition is None or not is_current():
            return False
        completed = await self._applier.apply(topic_partition, delivered.records, is_current)
        if completed:
            delivered.ack()
        return completed
