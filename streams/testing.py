"""Run the stream agents in memory: the real process in a test's event loop, without Kafka, Faust or Redis.

    bus, store, clock = MemoryBus(clock), MemoryStore(clock), ManualClock()
    async with run_streams(settings, bus=bus, store=store, clock=clock) as streams:
        await producer.send([...])                    # onto settings.topic("events")
        await streams.wait_until_idle()               # every agent has applied and committed all that there is
        clock.advance(3_600_000)                      # timers fire as on a real worker
        await streams.wait_until_idle()

Everything is the code that runs in production: `StreamProcess`, the agents of `streams.agents`, their background tasks, the
applier, the partition queues, the assigned partitions. Only what reads a topic is replaced: `MemorySliceSource` stands for Faust.
It keeps the promises of `SliceSource`, rebalances included: several processes on one bus share the partitions as workers do.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from profile_store.port import ProfileStore
from runtime.bus.memory import MemoryBus, MemoryConsumer
from runtime.bus.port import Partition
from runtime.clock import Clock
from runtime.errors import Transient
from runtime.settings import Settings
from streams.agents import build_agents
from streams.applier import ExitCode
from streams.process import BuildSteps, StreamProcess
from streams.slice_source import Assignment, Deliver, DeliveredSlice, SliceSource, start_offset

POLL_MS: Final = 20
"""How long a source waits for records. What is acknowledged meanwhile is committed after that."""
CHECK_INTERVAL_S: Final = 0.005
READY_TIMEOUT_S: Final = 30.0
IDLE_TIMEOUT_S: Final = 60.0


class MemorySliceSource:
    """A source of slices over a `MemoryBus`. See `SliceSource`; a slice has at most `settings.max_poll_records` records."""

    def __init__(
        self, settings: Settings, agent: str, topic: str, *, assignment: Assignment, deliver: Deliver, bus: MemoryBus
    ) -> None:
        self._bus = bus
        self._group = settings.group(agent)
        self._topic = settings.topic(topic)
        self._max_records = settings.max_poll_records
        self._assignment = assignment
        self._deliver = deliver
        self._consumer: MemoryConsumer | None = None
        self._task: asyncio.Task[None] | None = None
        self._assigned_generation = 0
        self._acknowledged: dict[Partition, int] = {}
        self.ended = False

    @property
    def generation(self) -> int:
        # The group's, not the one that was last assigned here: a slice is out of date as soon as the broker has rebalanced.
        return 0 if self._consumer is None else self._consumer.generation

    async def start(self) -> None:
        self._consumer = await self._bus.consumer(self._group, [self._topic])
        self._task = asyncio.create_task(self._run(self._consumer), name=f"source {self._group}")

    async def commit(self) -> None:
        if self._consumer is not None and self._acknowledged:
            acknowledged, self._acknowledged = self._acknowledged, {}
            await self._consumer.commit(acknowledged)

    async def aclose(self) -> None:
        self.ended = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._consumer is not None:
            await self._consumer.aclose()

    async def _run(self, consumer: MemoryConsumer) -> None:
        try:
            while True:
                if consumer.generation != self._assigned_generation:
                    await self._rebalance(consumer)
                polled = await consumer.poll(POLL_MS, self._max_records)
                # Records that were read across a rebalance are dropped: their partitions are sought anew.
                if consumer.generation != self._assigned_generation:
                    continue
                for partition, records in polled.items():
                    generation, next_offset = self._assigned_generation, records[-1].offset + 1
                    await self._deliver(
                        DeliveredSlice(
                            partition=partition,
                            generation=generation,
                            records=records,
                            ack=partial(self._acknowledge, partition, generation, next_offset),
                        )
                    )
                await self.commit()
        except Exception as error:  # noqa: BLE001 - whatever it is, the process must hear of it and end
            self.ended = True
            self._assignment.on_failure(error)

    async def _rebalance(self, consumer: MemoryConsumer) -> None:
        """Take over the partitions of the group's current generation, each from its start."""
        await self._assignment.on_revoked()
        self._acknowledged.clear()
        self._assigned_generation = consumer.generation
        partitions = list(consumer.positions)
        stored = await self._assignment.on_assigned(partitions)
        committed = await self._bus.committed(self._group, self._topic)
        earliest = await self._bus.start_offsets(self._topic)
        for partition in partitions:
            start = start_offset(
                earliest=earliest[partition.number],
                committed=committed.get(partition.number),
                stored=stored.get(partition),
            )
            await consumer.seek(partition, start)

    def _acknowledge(self, partition: Partition, generation: int, next_offset: int) -> None:
        # In order, because a partition's queue handles one slice after the other, and none after one that was not done.
        if generation == self.generation:
            self._acknowledged[partition] = next_offset


class RunningStreams:
    """The agents of one process, at work. Made by `run_streams`."""

    def __init__(
        self,
        process: StreamProcess,
        serving: asyncio.Task[ExitCode],
        *,
        settings: Settings,
        bus: MemoryBus,
        store: ProfileStore,
        clock: Clock,
    ) -> None:
        self._process = process
        self._serving = serving
        self._settings = settings
        self._bus = bus
        self._store = store
        self._clock = clock

    async def wait_until_idle(self, timeout_s: float = IDLE_TIMEOUT_S) -> None:
        """Wait until every agent has committed all records of its topic, and no timer is due.

        The topics are compared at one instant, so no record is on its way from one agent to another then. A round of reclustering
        that has not begun yet does not count. Raises TimeoutError, and RuntimeError when the process has ended.
        """
        deadline = time.monotonic() + timeout_s
        while not await self.is_idle():
            self._raise_if_ended()
            if time.monotonic() > deadline:
                raise TimeoutError(f"the agents are not idle after {timeout_s:g} s: {await self.lags()}")
            await asyncio.sleep(CHECK_INTERVAL_S)

    async def is_idle(self) -> bool:
        """Tell whether no agent has a record left to commit, and no timer is due."""
        # A second look at the topics, because a timer may have been emitted, and so have gone, between the first and the timers.
        return await self._has_no_lag() and not await self._has_due_timer() and await self._has_no_lag()

    async def _has_no_lag(self) -> bool:
        return not any((await self.lags()).values())

    async def _has_due_timer(self) -> bool:
        now_ms = self._clock.now_ms()
        for agent in self._process.agents:
            for topic_partition in agent.assigned.all():
                if await self._store.due_timers(topic_partition, now_ms, 1):
                    return True
        return False

    async def lags(self) -> dict[str, int]:
        """Return how many records each agent has still to commit, by the agent's name."""
        lags = {}
        for agent in self._process.agents:
            topic = self._settings.topic(agent.topic)
            ends = await self._bus.end_offsets(topic)
            committed = await self._bus.committed(self._settings.group(agent.name), topic)
            lags[agent.name] = sum(end - committed.get(number, self._bus.first_offset) for number, end in ends.items())
        return lags

    async def crash(self) -> None:
        """End the process as a kill would: slices in hand are given up, nothing more is committed, all memory is gone."""
        self._serving.cancel()
        await asyncio.gather(self._serving, return_exceptions=True)

    async def wait_until_ready(self) -> None:
        """Wait until every agent has its partitions. Raises what the process raised if it ended before."""
        async with asyncio.timeout(READY_TIMEOUT_S):
            while True:
                try:
                    await self._process.ready()
                except Transient:
                    self._raise_if_ended()
                    await asyncio.sleep(CHECK_INTERVAL_S)
                else:
                    return

    def _raise_if_ended(self) -> None:
        if self._serving.done():
            raise RuntimeError(f"the stream process has ended: {self._serving.result().name}")


@asynccontextmanager
async def run_streams(
    settings: Settings, *, bus: MemoryBus, store: ProfileStore, clock: Clock, build_steps: BuildSteps = build_agents
) -> AsyncIterator[RunningStreams]:
    """Run the agents that `build_steps` makes, by default all of them, until the block ends.

    The topics must exist. `settings.data_dir` is written to: failed slices are noted there. Raises RuntimeError at the end of the
    block if the process has ended by itself in it, and was not made to by `crash`.
    """

    def open_source(
        settings: Settings,
        agent: str,
        topic: str,
        *,
        assignment: Assignment,
        deliver: Deliver,
        first_offset: int = 0,  # noqa: ARG001 - the broker in memory counts from there itself
    ) -> SliceSource:
        return MemorySliceSource(settings, agent, topic, assignment=assignment, deliver=deliver, bus=bus)

    process = StreamProcess(settings, bus=bus, store=store, clock=clock, open_source=open_source)
    serving = asyncio.create_task(process.serve(build_steps), name="streams")
    streams = RunningStreams(process, serving, settings=settings, bus=bus, store=store, clock=clock)
    try:
        await streams.wait_until_ready()
        yield streams
    finally:
        process.stop(ExitCode.STOPPED)
        await asyncio.gather(serving, return_exceptions=True)
    if not serving.cancelled() and (code := serving.result()) is not ExitCode.STOPPED:
        raise RuntimeError(f"the stream process has ended: {code.name}")
