"""The ClickHouse engine's process for tests: the shipped module, on a free port, ended with the test."""

import hashlib
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embedded.child_process import ChildSpec
from embedded.roles import answers_ok
from tests.support.ports import free_port
from tests.support.services import running_service

APP, APP_PASSWORD = "onefold", "app-test-password"
ANALYST, ANALYST_PASSWORD = "analyst", "analyst-test-password"


def users_file(directory: Path) -> Path:
    """Write a users file with both roles and return its path."""
    users = {
        name: {"password_sha256": hashlib.sha256(password.encode()).hexdigest(), "role": role}
        for name, password, role in ((APP, APP_PASSWORD, "app"), (ANALYST, ANALYST_PASSWORD, "analyst"))
    }
    path = directory / "clickhouse-users.json"
    path.write_text(json.dumps(users))
    return path


def command_line(store: Path, port: int, users: Path | None) -> list[str]:
    """Return the command line of the server process."""
    users_arguments = [] if users is None else ["--users-file", str(users)]
    return [sys.executable, "-P", "-m", "embedded.clickhouse", "--path", str(store), "--port", str(port), *users_arguments]


def clickhouse_spec(directory: Path) -> tuple[ChildSpec, str]:
    """Return how to start the server in `directory`, and its URL with user and password of the role app."""
    directory.mkdir(parents=True, exist_ok=True)
    port = free_port()
    argv = command_line(directory / "store", port, users_file(directory))
    spec = ChildSpec("clickhouse", argv, lambda: answers_ok(port, "/ping"), directory / "clickhouse.log")
    return spec, f"http://{APP}:{APP_PASSWORD}@127.0.0.1:{port}"


def as_analyst(url: str) -> str:
    """Return the URL of the same server for the role analyst."""
    return f"http://{ANALYST}:{ANALYST_PASSWORD}@{url.rpartition('@')[2]}"


@contextmanager
def clickhouse_server(directory: Path) -> Iterator[str]:
    """Start an engine in `directory` and yield its URL with user and password."""
    spec, url = clickhouse_spec(directory)
    with running_service(spec):
        yield url
