"""Embedded stacks for tests: inside the test's own event loop, or as the shipped command."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from embedded import control
from embedded.directory_lock import lock_directory
from embedded.layout import Layout
from embedded.roles import Role
from embedded.stack import STORES, Prepare, Stack
from ops.prepare import prepare as prepare_stores
from runtime.errors import OnefoldError
from tests.support.polling import eventually

REPO = Path(__file__).parents[2]


@asynccontextmanager
async def embedded_stack(
    directory: Path,
    *,
    services: Sequence[str] = STORES,
    roles: Sequence[Role] = (),
    prepare: Prepare | None = None,
    print_line: Callable[[str], None] = print,
) -> AsyncIterator[Stack]:
    """Start a stack of these services in `directory`, yield it when it is ready, and stop it at the end.

    `prepare_stores` creates topics and tables.
    """
    layout = Layout.of(directory)
    layout.create_directories()
    with lock_directory(layout):
        running_stack = Stack(layout, stores=services, roles=roles, prepare=prepare, notify=print_line)
        running_stack.set_up()
        try:
            await running_stack.start()
            yield running_stack
        finally:
            await running_stack.stop()


@dataclass
class OnefoldProcess:
    """`onefold up` as its own process, and the other commands on its directory."""

    directory: Path
    roles: str | None = None  # ONEFOLD_ROLES; None runs all
    env: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = None

    @property
    def variables(self) -> dict[str, str]:
        roles = {} if self.roles is None else {"ONEFOLD_ROLES": self.roles}
        return {**os.environ, **roles, **self.env, "ONEFOLD_DATA_DIR": str(self.directory)}

    def run(self, *arguments: str, timeout_s: float = 240) -> subprocess.CompletedProcess[str]:
        """Run one `onefold` command to its end."""
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
        """Return what `onefold status --json` prints, without the cost of a process."""
        try:
            state: dict[str, Any] = control.send_command(Layout.of(self.directory), "status", timeout_s=30)
        except OnefoldError:
            return {"ready": False, "addresses": {}, "write_keys": {}, "roles": []}
        return state

    def role(self, name: str) -> dict[str, Any]:
        """Return the state of one role."""
        state: dict[str, Any] = next(role for role in self.status()["roles"] if role["name"] == name)
        return state

    def up(self) -> Self:
        """Start it in the foreground and wait until all is ready."""
        argv = [sys.executable, "-m", "ops.cli.main", "up"]
        with (self.directory.parent / f"{self.directory.name}.out").open("a") as out:
            self.process = subprocess.Popen(
                argv, env=self.variables, cwd=REPO, stdin=subprocess.DEVNULL, stdout=out, stderr=out, text=True
            )
        eventually(lambda: self.process is None or self.process.poll() is not None or self.status()["ready"], within_s=240)
        if self.process.poll() is not None:
            message = f"onefold up ended with {self.process.returncode}:\n{self.output()}"
            raise RuntimeError(message)
        return self

    def output(self) -> str:
        """Return everything that `up` has printed, over all its starts."""
        return (self.directory.parent / f"{self.directory.name}.out").read_text()

    def stop(self) -> None:
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
        self.stop()


__all__ = ["OnefoldProcess", "embedded_stack", "prepare_stores"]
