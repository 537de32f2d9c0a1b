"""A stream process: hosts agents and their background tasks, follows the definitions, and ends in order.

It ends by a signal, or when an agent or a task asks for it: a fault that only a new process can heal ends it with the `ExitCode`
that names the fault. Its supervisor starts it again.
"""

import asyncio
import signal
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Final

from profile_store.port import ProfileStore
from runtime.bus.follow import TopicFollower
from runtime.bus.port import Bus
from runtime.bus.watch_log import watch_log
from runtime.clock import Clock
from runtime.errors import AnotherLog, Transient
from runtime.logs import get_logger
from runtime.settings import Settings
from streams.agent import Agent
from streams.applier import ExitCode
from streams.definitions import build_definitions, show_bad_records
from streams.faust_app import FaustSliceSource
from streams.hosting import AgentResources, HostedStep, StepDependencies
from streams.slice_source import OpenSliceSource

log: Final = get_logger(__name__)

CLOSE_TIMEOUT_S: Final = 25.0
"""How long an orderly stop may take in total. Most of that time is for the slices that are being applied."""


BuildSteps = Callable[[StepDependencies], Sequence[HostedStep]]
"""Builds the steps that a process hosts. It is called once, when the definitions are known."""


class StreamProcess:
    """Hosts agents over a bus and a store. `open_source` makes the source of each agent's slices: Faust, except in tests."""

    def __init__(
        self,
        settings: Settings,
        *,
        bus: Bus,
        store: ProfileStore,
        clock: Clock,
        open_source: OpenSliceSource = FaustSliceSource,
    ) -> None:
        self._settings = settings
        self._bus = bus
        self._store = store
        self._clock = clock
        self._open_source = open_source
        self._agents: list[Agent] = []
        self._exit_code: asyncio.Future[ExitCode] = asyncio.get_running_loop().create_future()
        self._tasks: list[asyncio.Task[None]] = []

    def stop(self, code: ExitCode) -> None:
        """Ask the process to end. Returns at once; the first reason counts."""
        if not self._exit_code.done():
            self._exit_code.set_result(code)

    @property
    def agents(self) -> Sequence[Agent]:
        """The agents that are hosted; none before the definitions are known."""
        return tuple(self._agents)

    async def ready(self) -> None:
        """Return if every agent has had its first assignment, and broker and store answer; raise Transient otherwise."""
        if not self._agents or not all(agent.ready.is_set() for agent in self._agents):
            raise Transient("not every agent has its partitions yet")
        await self._bus.ping()
        await self._store.ping()

    async def run(self, build_steps: BuildSteps) -> ExitCode:
        """Host the steps that `build_steps` makes until SIGTERM, SIGINT or a fault that needs a new process. Returns the reason."""
        loop = asyncio.get_running_loop()
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signal_number, self.stop, ExitCode.STOPPED)
        try:
            return await self.serve(build_steps)
        finally:
            for signal_number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(signal_number)

    async def serve(self, build_steps: BuildSteps) -> ExitCode:
        """Host the steps that `build_steps` makes until `stop` is called. Returns the reason.

        The end is orderly: slices in hand are finished and committed. If this coroutine is cancelled it is not, as if the process
        had been killed. Raises what `build_steps` or the start of an agent raises.
        """
        async with AsyncExitStack() as stack:
            try:
                code = await self._serve_until_stopped(build_steps, stack)
                log.info("stopping", reason=code.name.lower())
                await self._close()
            except BaseException:
                await self._abort()
                raise
        return code

    async def _serve_until_stopped(self, build_steps: BuildSteps, stack: AsyncExitStack) -> ExitCode:
        starting = asyncio.create_task(self._start(build_steps, stack))
        self._tasks.append(starting)
        awaited: set[asyncio.Future[Any]] = {starting, self._exit_code}
        await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            await starting
        else:
            # Asked to end before everything was started.
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
        return await self._exit_code

    async def _start(self, build_steps: BuildSteps, stack: AsyncExitStack) -> None:
        definitions = build_definitions(self._settings)
        follower = TopicFollower(
            self._bus, self._settings.topic("definitions"), definitions, partial(show_bad_records, definitions)
        )
        # An agent must not decide before it knows the definitions, so nothing else starts until they are read to their end.
        self._spawn("definitions", follower.run())
        await follower.caught_up.wait()
        producer = await self._bus.producer()
        stack.push_async_callback(producer.aclose)
        hosted_steps = build_steps(StepDependencies(self._settings, self._store, self._clock, definitions))
        for hosted_step in hosted_steps:
            agent = Agent(
                self._settings,
                hosted_step.step,
                bus=self._bus,
                store=self._store if hosted_step.stateful else None,
                producer=producer,
                clock=self._clock,
                stop=self.stop,
                open_source=self._open_source,
            )
            self._agents.append(agent)
            for name, start_task in hosted_step.background.items():
                self._spawn(name, start_task(AgentResources(producer, agent.assigned)))
        # Only when every agent is made: the first assignment may come at once, and `ready` must then know of all of them.
        # All at the same time, because the start of each is a second of waiting for its threads and its group.
        await asyncio.gather(*(agent.start() for agent in self._agents))
        for agent in self._agents:
            self._spawn(f"watch {agent.name}", agent.watch())
        self._spawn("log", self._end_with_log())

    async def _end_with_log(self) -> None:
        """End the process when Kafka has another log: positions, and what the agents remember of them, stand for the one before."""
        try:
            await watch_log(self._bus)
        except AnotherLog as error:
            log.error("another_log", reason=str(error))  # noqa: TRY400 - the text says all
            self.stop(ExitCode.CONSUMER)

    def _spawn(self, name: str, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine, name=name)
        task.add_done_callback(self._task_ended)
        self._tasks.append(task)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("task_failed", task=task.get_name(), exc_info=error)
            self.stop(ExitCode.BUG)

    async def _close(self) -> None:
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await asyncio.gather(*(agent.aclose() for agent in self._agents))
        except TimeoutError:
            log.warning("close_timeout", timeout_s=CLOSE_TIMEOUT_S)
        await self._cancel_tasks()

    async def _abort(self) -> None:
        await self._cancel_tasks()
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await asyncio.gather(*(agent.abort() for agent in self._agents), return_exceptions=True)

    async def _cancel_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
