"""The shipped command as a process: starts a whole Onefold in a directory, speaks to it over HTTP and by the command line."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from typer.testing import CliRunner

from ops.cli.command_table import new_application
from runtime.errors import OnefoldError
from tests.support.polling import eventually

ONEFOLD = Path(sys.executable).with_name("onefold")


class Onefold:
    """A running Onefold in `data_dir`."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir

    def run(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ONEFOLD_")}
        result = subprocess.run(
            [ONEFOLD, *argv],
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
            env={**environment, "ONEFOLD_DATA_DIR": str(self.data_dir)},
        )
        if check:
            assert result.returncode == 0, f"onefold {' '.join(argv)}: {result.returncode}\n{result.stdout}\n{result.stderr}"
        return result

    def ask(self, *argv: str) -> str:
        """Return what a command that only reads prints, whatever its exit code.

        The command runs in this process: a process of its own takes most of a second to import what it needs, and tests that wait
        for a change ask again and again.
        """
        environment = {**{name: None for name in os.environ if name.startswith("ONEFOLD_")}, "ONEFOLD_DATA_DIR": str(self.data_dir)}
        with ThreadPoolExecutor(1) as pool:  # a command runs a loop of its own, and a test may run one as well
            result = pool.submit(partial(CliRunner().invoke, new_application(), argv, env=environment)).result()
        if not isinstance(result.exception, SystemExit | OnefoldError | None):
            raise result.exception
        return result.stdout

    def json(self, *argv: str, check: bool = True) -> Any:
        return json.loads(self.run(*argv, "--json", check=check).stdout)

    def status(self) -> Any:
        return json.loads(self.ask("status", "--json"))

    def send(self, calls: Sequence[dict[str, Any]], source: str = "server") -> None:
        """Send batches over HTTP, and again while the collector asks for that; every event must be accepted."""
        status = self.status()
        key, address = status["write_keys"][source], status["addresses"]["collector"]
        url = address if address.startswith("http") else f"http://{address}"
        for start in range(0, len(calls), 100):
            body = {"batch": list(calls[start : start + 100])}

            def post(body: dict[str, Any] = body) -> int:
                with contextlib.suppress(httpx.TransportError):
                    return httpx.post(f"{url}/v1/batch", json=body, auth=(key, ""), timeout=10).status_code
                return 0

            eventually(post, lambda code: code == 200)

    def account(self) -> Any:
        return json.loads(self.ask("account", "--json"))

    def wait_until_settled(self, accepted: int, within_s: float = 90.0) -> Any:
        """Wait until at least `accepted` events are accounted for and none is in flight; return the account."""
        return eventually(self.account, lambda a: a["accepted"] >= accepted and a["in_flight"] == 0, within_s)

    def rows(self, sql: str) -> list[list[str]]:
        lines = self.ask("sql", sql, "--format", "TSV").splitlines()
        return [line.split("\t") for line in lines]

    def pid(self, role: str) -> int:
        return next(int(entry["pid"]) for entry in self.status()["roles"] if entry["name"] == role)

    def restarts(self, role: str) -> int:
        return next(int(entry["restarts"]) for entry in self.status()["roles"] if entry["name"] == role)

    def wait_until_verified(self, within_s: float = 60.0) -> Any:
        """Wait until both stores agree; return the hashes."""
        return eventually(lambda: json.loads(self.ask("verify", "--json")), lambda v: v["agree"], within_s)


@contextlib.contextmanager
def running_onefold(data_dir: Path) -> Iterator[Onefold]:
    """Run `onefold up --detach` in a directory, and `onefold down` at the end."""
    onefold = Onefold(data_dir)
    onefold.run("up", "--detach")
    try:
        yield onefold
    finally:
        onefold.run("down", check=False)
