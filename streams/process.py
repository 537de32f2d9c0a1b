"""A stream process: hosts agents, keeps the definitions and timers they need, and ends in order."""

import asyncio
import signal
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

from profile_store.port import ProfileStore
from runtime.bus.port import Bus
from runtime.clock import Clock
from runtime.errors import Transient
from runtime.logs import get_logger
from runtime.settings import Settings
from streams.agent import Agent
from streams.applier import ExitCode
from streams.definitions import Definitions, follow_definitions
from streams.hosting import AgentResources, HostedStep, StepDependencies

log: Final = get_logger(__name__)

CLOSE_TIMEOUT_S: Final = 25.0
"""How long an orderly end may take in all; the slices in hand have most of it."""


class StreamProcess:
    """Hosts the agents of `steps`. `run` returns why it ended."""

    def __init__(self, settings: Settings, *, bus: Bus, store: ProfileStore, clock: Clock) -> None:
        self._settings = settings
        self._bus = bus
        self._store = store
        self._clock = clock
        self._agents: list[Agent] = []
        self._exit_code: asyncio.Future[ExitCode] = asyncio.get_running_loop().create_future()
        self._tasks: list[asyncio.Task[None]] = []

    def stop(self, code: ExitCode) -> None:
        """Ask the process to end; the first reason counts."""
        if not self._exit_code.done():
            self._exit_code.set_result(code)

    async def ready(self) -> None:
        """Return when every agent has had its first assignment and both stores answer; raises Transient otherwise."""
        if not self._agents or not all(agent.ready.is_set() for agent in self._agents):
            raise Transient("not every agent has its partitions yet")
        await self._bus.ping()
        await self._store.ping()

    async def run(self, build_steps: Callable[[StepDependencies], Sequence[HostedStep]]) -> ExitCode:
        """Host what `build_steps` makes until SIGTERM, SIGINT or a fault that needs a new start."""
        loop = asyncio.get_running_loop()
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signal_number, self.stop, ExitCode.STOPPED)
        try:
            async with AsyncExitStack() as stack:
                starting = asyncio.create_task(self._start(build_steps, stack))
                awaited: set[asyncio.Future[Any]] = {starting, self._exit_code}
                await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
                if starting.done():
                    await starting
                    await self._exit_code
                else:
                    starting.cancel()
                    await asyncio.gather(starting, return_exceptions=True)
                code = self._exit_code.result()
                log.info("stopping", reason=code.name.lower())
                await self._close()
        finally:
            for signal_number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(signal_number)
        return code

    async def _start(self, build_steps: Callable[[StepDependencies], Sequence[HostedStep]], stack: AsyncExitStack) -> None:
        definitions = Definitions(self._settings)
        self._spawn("definitions", follow_definitions(self._settings, self._bus, definitions))
        await definitions.caught_up.wait()
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
            )
            self._agents.append(agent)
            for name, start_task in hosted_step.background.items():
                self._spawn(name, start_task(AgentResources(producer, agent.assigned)))
        for agent in self._agents:
            await agent.start()
            self._spawn(f"watch {agent.name}", agent.watch())

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
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
