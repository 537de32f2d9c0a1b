"""The workers of all destinations: one for each defined destination, started, replaced and stopped as definitions change."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

from activation.worker import Worker
from domain.definitions.kinds import Destination
from domain.definitions.live import LiveDefinitions, ShowBadRecords, ignore_count
from runtime.bus.follow import TopicFollower
from runtime.bus.port import Bus
from runtime.errors import Misconfigured
from runtime.logs import get_logger
from runtime.settings import Settings

SECRET_RETRY_S: Final = 5.0
KEY_PREFIX: Final = "Destination/"

log: Final = get_logger(__name__)

MakeWorker = Callable[[Destination], Worker]
"""Makes a worker for a definition; raises Misconfigured when its secret is missing."""


class Fleet:
    """Follows the definitions topic. `caught_up` is set once the worker of every destination defined at the start is started."""

    def __init__(
        self, settings: Settings, bus: Bus, make_worker: MakeWorker, show_bad_records: ShowBadRecords = ignore_count
    ) -> None:
        self._make_worker = make_worker
        self._show_bad_records = show_bad_records
        self._definitions = LiveDefinitions(
            prefixes=(KEY_PREFIX,),
            report_bad=lambda record: log.warning("definition_skipped", offset=record.offset, key=record.key, reason=record.reason),
        )
        self._follower = TopicFollower(bus, settings.topic("definitions"), self._definitions, self._apply_changes)
        self._running: dict[str, tuple[Destination, asyncio.Event, asyncio.Task[None]]] = {}
        self._workers: dict[str, Worker] = {}
        self._missing_secrets: dict[str, str] = {}
        """Why a destination has no worker yet, by its name."""
        self.caught_up = self._follower.caught_up

    def addresses(self) -> dict[str, str]:
        """Return the URL of each destination that runs now, by name."""
        return {name: str(definition.spec.url) for name, (definition, _, _) in self._running.items()}

    def waits(self) -> list[str]:
        """Return a sentence for each destination that waits for its secret, or whose messages wait for the receiver."""
        sentences = [f"{reason}: its messages wait" for _, reason in sorted(self._missing_secrets.items())]
        for name, worker in sorted(self._workers.items()):
            if worker.waiting_count:
                problem = f", the last answer: {worker.last_problem}" if worker.last_problem else ""
                sentences.append(f"destination {name}: {worker.waiting_count:,} messages wait for another attempt{problem}")
        return sentences

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set; all workers have ended when it returns. Raises what following the definitions raises."""
        following = asyncio.create_task(self._follower.run(), name="definitions")
        stopping = asyncio.create_task(stop.wait(), name="stop")
        try:
            await asyncio.wait((following, stopping), return_when=asyncio.FIRST_COMPLETED)
            if following.done():
                following.result()
        finally:
            for task in (following, stopping):
                task.cancel()
            await asyncio.gather(following, stopping, return_exceptions=True)
            await asyncio.gather(*(self._stop_worker(name) for name in list(self._running)))

    async def _apply_changes(self) -> None:
        """Start, stop or replace the workers of the destinations whose definition has changed."""
        self._show_bad_records(len(self._definitions.bad_records))
        for key in sorted(self._definitions.pop_changed_keys()):
            name, definition = key.removeprefix(KEY_PREFIX), self._definitions.get(key)
            running = self._running.get(name)
            if running is not None and running[0] == definition:
                continue
            # The old worker ends before the new one starts: two would be members of one group and share its partitions.
            await self._stop_worker(name)
            if isinstance(definition, Destination):
                worker_stop = asyncio.Event()
                task = asyncio.create_task(self._run_worker(definition, worker_stop), name=f"destination {name}")
                self._running[name] = (definition, worker_stop, task)

    async def _run_worker(self, definition: Destination, stop: asyncio.Event) -> None:
        """Run a worker until `stop`. While its secret is missing it is tried again: its messages wait in Kafka meanwhile."""
        name = definition.metadata.name
        while not stop.is_set():
            try:
                self._workers[name] = worker = self._make_worker(definition)
            except Misconfigured as error:
                self._missing_secrets[name] = str(error)
                log.error("destination_waits", destination=name, error=str(error))  # noqa: TRY400 - one line
                await _wait_at_most(stop.wait(), SECRET_RETRY_S)
                continue
            self._missing_secrets.pop(name, None)
            log.info("destination_started", destination=name)
            await worker.run(stop)
            log.info("destination_stopped", destination=name)

    async def _stop_worker(self, name: str) -> None:
        running = self._running.pop(name, None)
        if running is not None:
            running[1].set()
            await running[2]
        self._workers.pop(name, None)
        self._missing_secrets.pop(name, None)


async def _wait_at_most(coroutine: Coroutine[Any, Any, object], timeout_s: float) -> None:
    """Wait until the coroutine returns, at most `timeout_s`."""
    task = asyncio.ensure_future(coroutine)
    await asyncio.wait([task], timeout=timeout_s)
    task.cancel()
