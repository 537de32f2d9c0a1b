"""Embedded stacks for tests: inside the test's own event loop, or as the shipped command."""

import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from embedded import control
from embedded.layout import Layout
from embedded.directory_lock import claim
from embedded.roles import Role
from embedded.stack import (STORES, Prepare, Stack, prepare_all)
from runtime.errors import OnefoldError

REPO = Path(__file__).parents[2]


@asynccontextmanager
async def stack(
    directory: Path,
    *,
    services: Sequence[str] = STORES,
    roles: Sequence[Role] = (),
    prepare: Prepare | None = None,
    say: Callable[[str], None] = print,
) -> AsyncIterator[Stack]:
    """A stack of these services in `directory`, ready; stopped on the way out. `prepare_all` makes topics and tables."""
    layout = Layout.of(directory)
    layout.make()
    with claim(layout):
        made = Stack(layout, stores=services, roles=roles, prepare=prepare, say=say)
        made.set_up()
        try:
            await made.start()
            yield made
        finally:
            await made.stop()


@dataclass
class Command:
    """`onefold up` as a process of its own, and the other commands on its directory."""

    directory: Path
    roles: str | None = None  # ONEFOLD_ROLES; None runs all
    env: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = None

    @property
    def variables(self) -> dict[str, str]:
        roles = {} if self.roles is None else {"ONEFOLD_ROLES": self.roles}
        return {**os.environ, **roles, **self.env, "ONEFOLD_DATA_DIR": str(self.directory)}

    def run(self, *arguments: str, timeout_s: float = 240) -> subprocess.CompletedProcess[str]:
        """One `onefold` command, ended."""
        argv = [sys.executable, "-m", "ops.cli.main", *arguments]
        return subprocess.run(
            argv,
            env=self.variables,
            cwd=REPO,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
            stdin=subprocess.DEVNULL,
        )

    def status(self) -> dict[str, Any]:
        """What `onefold status --json` prints, asked without the cost of a process."""
        try:
            state: dict[str, Any] = control.ask(Layout.of(self.directory), "status", timeout_s=30)
        except OnefoldError:
            return {"ready": False, "addresses": {}, "write_keys": {}, "roles": []}
        return state

    def role(self, name: str) -> dict[str, Any]:
        """The state of one role."""
        found: dict[str, Any] = next(role for role in self.status()["roles"] if role["name"] == name)
        return found

    def up(self) -> Self:
        """Start it in the foreground and wait until all is ready."""
        argv = [sys.executable, "-m", "ops.cli.main", "up"]
        with (self.directory.parent / f"{self.directory.name}.out").open("a") as out:
            self.process = subprocess.Popen(
                argv, env=self.variables, cwd=REPO, stdin=subprocess.DEVNULL, stdout=out, stderr=out, text=True
            )
        await_true(lambda: self.process is None or self.process.poll() is not None or self.status()["ready"], 240)
        if self.process.poll() is not None:
            message = f"onefold up ended with {self.process.returncode}:\n{self.said()}"
            raise RuntimeError(message)
        return self

    def said(self) -> str:
        """Everything that `up` has printed, over all its starts."""
        return (self.directory.parent / f"{self.directory.name}.out").read_text()

    def end(self) -> None:
        """Stop it in order if it still runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def __enter__(self) -> Self:
        return self.up()

    def __exit__(self, *_: object) -> None:
        self.end()


def await_true(condition: Callable[[], object], limit_s: float = 30) -> None:
    """Wait until `condition` holds. Raises AssertionError after the limit."""
    until = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < until, f"not within {limit_s} s"
        time.sleep(0.1)


__all__ = ["Command", "await_true", "prepare_all", "stack"]
