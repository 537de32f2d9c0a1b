"""One agent: a step, the Faust app that feeds it with slices, and what the two need of each other."""

import asyncio
import logging
from collections.abc import Collection, Mapping
from typing import Any, Final, cast

from faust.types import TP, EventT

from profile_store.port import ProfileStore
from runtime.bus.port import Bus, Producer, Record
from runtime.clock import Clock
from runtime.errors import StateLost, Transient
from runtime.settings import Settings
from streams.faust_app import create_faust_app
from streams.applier import Applier, Exit, Stop
from streams.partition_queues import Lanes
from streams.assigned_partitions import Places
from streams.step import Step

log: Final = logging.getLogger(__name__)

LOOK_S: Final = 1.0
"""How often the store is asked whether it still stands where it stood, and Faust whether it still runs."""
HAND_OVER_S: Final = 5.0
"""How long a rebalance waits for the slices in hand; half of the default session, far below the rebalance timeout."""
FINISH_S: Final = 15.0
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
        self.places = Places(bus, store, step.topic, settings.replay_margin)
        self.ready = asyncio.Event()
        self._stop, self._stopping = stop, False
        self._applier = Applier(settings, step, self.places, store, producer, clock, stop)
        self._lanes = Lanes(self._handle, self._lane_failed)
        self._app = create_faust_app(settings, step.name, step.topic, self, self._lanes)

    async def start(self) -> None:
        """Join the group. Returns before partitions are assigned: `ready` is set then."""
        await self._app.start()

    async def watch(self) -> None:
        """Look after the agent, for ever: its Faust app must run, and its store must stand where it stood."""
        while True:
            await asyncio.sleep(LOOK_S)
            if self._app.should_stop and not self._stopping:
                log.error("the Faust app has ended by itself", extra={"action": "app_ended", "agent": self.name})
                self._stop(Exit.CONSUMER)
                return
            try:
                await self.places.look()
            except StateLost as error:
                log.error(  # noqa: TRY400 - the text says all
                    "the store came back without its last writes; the process starts again",
                    extra={"action": "state_lost", "agent": self.name, "reason": str(error)},
                )
                self._stop(Exit.STATE_LOST)
                return
            except Transient:
                continue  # the slices wait for it too, and say so

    async def aclose(self) -> None:
        """Finish the slices in hand, commit them, leave the group."""
        self._stopping = True
        if not await self._lanes.pause(FINISH_S):
            log.warning("a slice in hand was not finished and comes again", extra={"action": "slice_dropped", "agent": self.name})
        if self.ready.is_set() and not self._app.should_stop:
            await self._app.consumer.commit()
        await self._app.stop()
        await self._lanes.aclose()

    async def assigned(self, partitions: Collection[TP]) -> Mapping[TP, int]:
        """See `slices.Assignment`."""
        while True:
            try:
                starts = await self.places.assigned(partitions)
                break
            except Transient as error:
                log.warning("starts wait for the store", extra={"action": "starts_wait", "agent": self.name}, exc_info=error)
                await asyncio.sleep(LOOK_S)
        if not self._stopping:
            self._lanes.resume()
        self.ready.set()
        log.info(
            "partitions assigned",
            extra={"action": "assigned", "agent": self.name, "starts": {tp.partition: at for tp, at in starts.items()}},
        )
        return starts

    async def revoked(self) -> None:
        """See `slices.Assignment`."""
        await self._lanes.pause(HAND_OVER_S)

    def failed(self, error: BaseException) -> None:
        """See `slices.Assignment`."""
        log.error("the consumer cannot start its partitions", extra={"action": "seek_failed", "agent": self.name}, exc_info=error)
        self._stop(Exit.CONSUMER)

    def _lane_failed(self, error: BaseException) -> None:
        log.error("a lane has ended", extra={"action": "lane_failed", "agent": self.name}, exc_info=error)
        self._stop(Exit.BUG)

    async def _handle(self, event: EventT[object]) -> bool:
        """Apply a slice and acknowledge it; one from before a rebalance is left to whoever has the partition now."""
        message = event.message

        def current() -> bool:
            return not self._stopping and message.generation_id == self._app.consumer_generation_id

        place = self.places.of(message.partition)
        if place is None or not current():
            return False
        records = [_record(record) for record in cast("list[Any]", event.value)]
        done = await self._applier.apply(place, records, current)
        if done:
            event.ack()
        return done


def _record(record: Any) -> Record:
    """An aiokafka record as the bus has it."""
    return Record(record.topic, record.partition, record.offset, record.timestamp, record.key, record.value, tuple(record.headers))
