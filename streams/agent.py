"""One agent: a step, the Faust app that feeds it with slices, and what the two need of each other."""

import asyncio
from collections.abc import Collection, Mapping
from typing import Any, Final, cast

from faust.types import TP, EventT

from profile_store.port import ProfileStore
from runtime.bus.port import Bus, Producer, Record
from runtime.clock import Clock
from runtime.errors import StateLost, Transient
from runtime.logs import get_logger
from runtime.retry import retry
from runtime.settings import Settings
from streams.applier import Applier, ExitCode, Stop
from streams.assigned_partitions import AssignedPartitions
from streams.faust_app import create_faust_app
from streams.partition_queues import PartitionQueues
from streams.step import Step

log: Final = get_logger(__name__)

POLL_INTERVAL_S: Final = 1.0
"""How often the store is asked whether it still stands where it stood, and Faust whether it still runs."""
ASSIGN_RETRY_BASE_MS: Final = 200
ASSIGN_RETRY_MAX_MS: Final = 5_000
REVOKE_TIMEOUT_S: Final = 5.0
"""How long a rebalance waits for the slices in hand; half of the default session, far below the rebalance timeout."""
SHUTDOWN_TIMEOUT_S: Final = 15.0
"""How long an orderly stop waits for the slices in hand."""


class Agent:
    """Runs `step` as a member of its consumer group. `stop` is told why the process must start again.

    Each agent is a Faust app and a consumer group of its own, so agents can be spread over processes in any way.
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
    ) -> None:
        self.name = step.name
        self.assigned = AssignedPartitions(bus, store, step.topic, settings.replay_margin)
        self.ready = asyncio.Event()
        self._stop, self._stopping = stop, False
        self._applier = Applier(settings, step, assigned=self.assigned, store=store, producer=producer, clock=clock, stop=stop)
        self._queues = PartitionQueues(self._handle, self._queue_failed)
        self._app = create_faust_app(settings, step.name, step.topic, assignment=self, queues=self._queues)

    async def start(self) -> None:
        """Join the group. Returns before partitions are assigned: `ready` is set then."""
        await self._app.start()

    async def watch(self) -> None:
        """Look after the agent, for ever: its Faust app must run, and its store must stand where it stood."""
        while True:
            await asyncio.sleep(POLL_INTERVAL_S)
            if self._app.should_stop and not self._stopping:
                log.error("app_ended", agent=self.name)
                self._stop(ExitCode.CONSUMER)
                return
            try:
                await self.assigned.check_all()
            except StateLost as error:
                log.error("state_lost", agent=self.name, reason=str(error))  # noqa: TRY400 - the text says all
                self._stop(ExitCode.STATE_LOST)
                return
            except Transient:
                continue  # the slices wait for it too, and say so

    async def aclose(self) -> None:
        """Finish the slices in hand, commit them, leave the group."""
        self._stopping = True
        if not await self._queues.pause(SHUTDOWN_TIMEOUT_S):
            log.warning("slice_dropped", agent=self.name)  # not acknowledged, so Kafka delivers it again
        if self.ready.is_set() and not self._app.should_stop:
            await self._app.consumer.commit()
        await self._app.stop()
        await self._queues.aclose()

    async def on_assigned(self, partitions: Collection[TP]) -> Mapping[TP, int]:
        """See `slices.Assignment`."""
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
        log.info("assigned", agent=self.name, starts={tp.partition: offset for tp, offset in starts.items()})
        return starts

    async def on_revoked(self) -> None:
        """See `slices.Assignment`."""
        await self._queues.pause(REVOKE_TIMEOUT_S)

    def on_failure(self, error: BaseException) -> None:
        """See `slices.Assignment`."""
        log.error("seek_failed", agent=self.name, exc_info=error)
        self._stop(ExitCode.CONSUMER)

    def _queue_failed(self, error: BaseException) -> None:
        log.error("partition_queue_failed", agent=self.name, exc_info=error)
        self._stop(ExitCode.BUG)

    async def _handle(self, event: EventT[object]) -> bool:
        """Apply a slice and acknowledge it; one from before a rebalance is left to whoever has the partition now."""
        message = event.message

        def is_current() -> bool:
            return not self._stopping and message.generation_id == self._app.consumer_generation_id

        topic_partition = self.assigned.get(message.partition)
        if topic_partition is None or not is_current():
            return False
        records = [_to_bus_record(record) for record in cast("list[Any]", event.value)]
        completed = await self._applier.apply(topic_partition, records, is_current)
        if completed:
            event.ack()
        return completed


def _to_bus_record(record: Any) -> Record:
    """An aiokafka record as the bus has it."""
    return Record(record.topic, record.partition, record.offset, record.timestamp, record.key, record.value, tuple(record.headers))
