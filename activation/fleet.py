"""The workers that should run: one for each destination that is defined, begun and ended as definitions change."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

from activation.worker import Worker
from runtime.bus.follow import follow
from runtime.bus.port import Bus, Record
from runtime.errors import Misconfigured
from runtime.logs import get_logger
from runtime.settings import Settings
from domain.definitions.kinds import BadDefinition, Destination, decode

SECRET_RETRY_S: Final = 5.0
KIND: Final = b"Destination/"

log: Final = get_logger(__name__)

Make = Callable[[Destination], Worker]
"""A worker for a definition; raises Misconfigured when it cannot work yet."""


class Fleet:
    """Follows the definitions topic. `caught_up` is set once what was defined at the start is known."""

    def __init__(self, settings: Settings, bus: Bus, make: Make) -> None:
        self._topic, self._bus, self._make = settings.topic("definitions"), bus, make
        self._running: dict[str, tuple[Destination, asyncio.Event, asyncio.Task[None]]] = {}
        self.caught_up = asyncio.Event()

    def addresses(self) -> dict[str, str]:
        """Where the destinations that run now lead, by name."""
        return {name: str(definition.spec.url) for name, (definition, _, _) in self._running.items()}

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set; all workers have ended when it returns."""
        following = asyncio.create_task(self._follow(), name="definitions")
        stopping = asyncio.create_task(stop.wait(), name="stop")
        try:
            await asyncio.wait((following, stopping), return_when=asyncio.FIRST_COMPLETED)
            if following.done():
                following.result()
        finally:
            for task in (following, stopping):
                task.cancel()
            await asyncio.gather(following, stopping, return_exceptions=True)
            await asyncio.gather(*(self._end(name) for name in list(self._running)))

    async def _follow(self) -> None:
        latest: dict[str, Destination | None] = {}

        async def show() -> None:
            await self._become(latest)
            latest.clear()
            self.caught_up.set()

        await follow(self._bus, self._topic, lambda record: self._note(record, latest), show)

    def _note(self, record: Record, latest: dict[str, Destination | None]) -> None:
        if record.key is None or not record.key.startswith(KIND):
            return
        name = record.key.removeprefix(KIND).decode(errors="replace")
        try:
            definition = None if record.value is None else decode(record.value, name)
        except BadDefinition as error:
            log.warning("definition_skipped", destination=name, error=str(error))
            return
        latest[name] = definition if isinstance(definition, Destination) else None

    async def _become(self, latest: dict[str, Destination | None]) -> None:
        for name, definition in latest.items():
            held = self._running.get(name)
            if held is not None and held[0] == definition:
                continue
            await self._end(name)
            if definition is not None:
                own = asyncio.Event()
                task = asyncio.create_task(self._one(definition, own), name=f"destination {name}")
                self._running[name] = (definition, own, task)

    async def _one(self, definition: Destination, stop: asyncio.Event) -> None:
        """Run a worker once it can work: what is missing (its secret) may still come, and its messages wait until then."""
        while not stop.is_set():
            try:
                worker = self._make(definition)
            except Misconfigured as error:
                log.error("destination_waits", destination=definition.metadata.name, error=str(error))  # noqa: TRY400 - one line
                await _either(stop.wait(), SECRET_RETRY_S)
                continue
            log.info("destination_started", destination=worker.name)
            await worker.run(stop)
            log.info("destination_stopped", destination=worker.name)

    async def _end(self, name: str) -> None:
        held = self._running.pop(name, None)
        if held is not None:
            held[1].set()
            await held[2]


async def _either(what: Coroutine[Any, Any, object], within_s: float) -> None:
    """Wait for one or the other."""
    task = asyncio.ensure_future(what)
    await asyncio.wait([task], timeout=within_s)
    task.cancel()
