"""Keep a child process running: start, wait until it is ready, restart with back-off when it ends or hangs, stop."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from embedded.child_process import LIVENESS_FAILURES, ChildSpec, tie_to, write_pid
from runtime.errors import Transient

LOG_BYTES = 10 * 1024 * 1024
_MIN_DELAY_S, _MAX_DELAY_S, _HEALTHY_S = 0.2, 10.0, 60.0
Notify = Callable[[str], None]


class ChildFailed(Transient):
    """A child ended, or was not ready in time, while it started; the message ends with the tail of its log."""


class Child:
    """One supervised process. `start` and `stop` may be called again and again; never both at once."""

    def __init__(self, spec: ChildSpec, pid_file: Path, notify: Notify) -> None:
        self.spec = spec
        self.restarts = 0
        self._pid_file = pid_file
        self._notify = notify
        self._process: asyncio.subprocess.Process | None = None
        self._watch_task: asyncio.Task[None] | None = None
        self._launched_s = 0.0

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def is_ready(self) -> bool:
        """Whether it runs and answers, asked now."""
        return self.pid is not None and await asyncio.to_thread(self.spec.is_ready)

    async def start(self) -> None:
        """Spawn it, wait until it is ready, and keep it running from then on. Raises ChildFailed; nothing runs then."""
        if self._watch_task is not None:
            return
        await self._launch()
        self._watch_task = asyncio.create_task(self._watch(), name=f"watch {self.name}")

    async def stop(self) -> None:
        """End it: SIGTERM, and SIGKILL after its grace."""
        watch_task, self._watch_task = self._watch_task, None
        if watch_task is not None:
            watch_task.cancel()
            with suppress(asyncio.CancelledError):
                await watch_task
        await self._terminate()
        with suppress(OSError):
            self._pid_file.unlink(missing_ok=True)

    async def _launch(self) -> None:
        self._launched_s = time.monotonic()
        try:
            with self.spec.log.open("ab") as out:
                self._process = await asyncio.create_subprocess_exec(
                    *map(str, self.spec.argv),
                    stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=out,
                    env=self.spec.env, preexec_fn=tie_to(os.getpid()),
                )  # fmt: skip
            write_pid(self._pid_file, self._process.pid)
        except OSError as error:
            await self._terminate()
            raise ChildFailed(f"{self.name} cannot be started ({error.strerror or type(error).__name__})") from error
        await self._wait_until_ready(self._process)

    async def _wait_until_ready(self, process: asyncio.subprocess.Process) -> None:
        while not await asyncio.to_thread(self.spec.is_ready):
            if process.returncode is not None:
                raise self._failure(f"{self.name} ended while starting ({describe_exit(process.returncode)})")
            if time.monotonic() - self._launched_s > self.spec.start_timeout_s:
                await self._terminate()
                raise self._failure(f"{self.name} was not ready after {self.spec.start_timeout_s:.0f} s")
            await asyncio.sleep(0.03)

    def _failure(self, message: str) -> ChildFailed:
        tail = self.spec.tail()
        return ChildFailed(f"{message}: see {self.spec.log}" + (f"\n{tail}" if tail else ""))

    async def _watch(self) -> None:
        delay = _MIN_DELAY_S
        while True:
            if self._process is not None:
                cause = await self._wait_for_end_or_hang(self._process)
                if time.monotonic() - self._launched_s > _HEALTHY_S:
                    delay = _MIN_DELAY_S
                self._notify(f"{self.name} {cause}, restarting")
            await asyncio.sleep(delay)
            delay = min(delay * 2, _MAX_DELAY_S)
            self.restarts += 1
            try:
                await self._launch()
            except ChildFailed as error:
                self._notify(str(error))
            else:
                self._notify(f"{self.name} is ready again after {time.monotonic() - self._launched_s:.1f} s")

    async def _wait_for_end_or_hang(self, process: asyncio.subprocess.Process) -> str:
        """Return in words why the child runs no more: it ended by itself, or it was ended because it answers no check."""
        failures = 0
        while failures < LIVENESS_FAILURES:
            try:
                code = await asyncio.wait_for(process.wait(), self.spec.liveness_interval_s)
            except TimeoutError:
                failures = 0 if await asyncio.to_thread(self.spec.is_alive or self.spec.is_ready) else failures + 1
            else:
                return f"ended ({describe_exit(code)})"
        await self._terminate()
        return f"did not answer {failures} checks in a row and was ended"

    async def _terminate(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), self.spec.grace_s)
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def describe_exit(code: int) -> str:
    """Describe an exit code in words: the signal's name when a signal ended the process."""
    if code >= 0:
        return f"exit {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def trim_log(log: Path, limit_bytes: int = LOG_BYTES) -> None:
    """Bound a log that a child appends to: beyond the limit its content moves to `<log>.1` and it goes on empty."""
    with suppress(OSError):
        if log.stat().st_size <= limit_bytes:
            return
        with suppress(OSError):  # a full disk: then the old lines are lost, which frees some of it
            log.with_name(f"{log.name}.1").write_bytes(log.read_bytes()[-limit_bytes:])
        os.truncate(log, 0)
