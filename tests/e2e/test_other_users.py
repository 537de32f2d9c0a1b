"""Any user of the machine reaches loopback ports: without a password none of the stores lets anybody in."""

import json
import os
import re
import socket
import struct
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError

from embedded.attach import settings_of_running
from runtime.bus.kafka import KafkaBus
from runtime.errors import Misconfigured, Transient
from runtime.settings import Settings
from tests.support.other_user import IS_ROOT, as_nobody
from tests.support.shipped_command import ONEFOLD, Onefold
from tests.support.source_tree import ROOT

pytestmark = [pytest.mark.stack, pytest.mark.e2e, pytest.mark.kafka, pytest.mark.redis, pytest.mark.clickhouse]


def ports(onefold: Onefold) -> dict[str, int]:
    stored: dict[str, int] = json.loads((onefold.data_dir / "run" / "ports.json").read_text())
    return stored


def secrets(onefold: Onefold) -> dict[str, str]:
    stored: dict[str, str] = json.loads((onefold.data_dir / "run" / "secrets.json").read_text())
    return stored


def is_cut_off(port: int, api_key: int, version: int, body: bytes) -> bool:
    """Return whether the server at this port closes the connection of a Kafka client that asks this without a login."""
    request = struct.pack(">hhih", api_key, version, 1, -1) + body
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        connection.settimeout(10)
        try:
            return connection.recv(1) == b""
        except ConnectionResetError:
            return True


@pytest.mark.parametrize("name", ["kafka", "controller"])
def test_kafka_answers_no_request_without_a_login(onefold: Onefold, name: str) -> None:
    metadata_of_all_topics = struct.pack(">i", -1)
    assert is_cut_off(ports(onefold)[name], 3, 1, metadata_of_all_topics)


async def test_kafka_refuses_a_client_without_the_password(onefold: Onefold) -> None:
    address = onefold.status()["addresses"]["kafka"]
    async with KafkaBus(Settings(kafka_bootstrap=address), timeout_ms=8_000) as bus:
        with pytest.raises(Transient, match="ONEFOLD_KAFKA_SECURITY_PROTOCOL"):
            await bus.ping()
    own = settings_of_running(onefold.data_dir)
    guessed = own.model_copy(update={"kafka_password": own.tenant_secret})
    async with KafkaBus(guessed, timeout_ms=8_000) as bus:
        with pytest.raises(Misconfigured, match="Kafka refuses the user in ONEFOLD_KAFKA_USER or its ONEFOLD_KAFKA_PASSWORD"):
            await bus.ping()


def test_redis_answers_nothing_without_the_password(onefold: Onefold) -> None:
    with Redis(port=ports(onefold)["redis"]) as stranger, pytest.raises(AuthenticationError):
        stranger.ping()
    with Redis(port=ports(onefold)["redis"], password="guessed") as stranger, pytest.raises(AuthenticationError):
        stranger.ping()
    with Redis.from_url(onefold.status()["addresses"]["redis"]) as own:
        assert own.ping()


@pytest.mark.skipif(not IS_ROOT, reason="only root can become another user")
def test_another_user_reads_no_file_and_opens_no_socket(onefold: Onefold) -> None:
    def readable(paths: list[Path]) -> list[str]:
        return [str(path) for path in paths if os.access(path, os.R_OK)]

    paths = [path for path in onefold.data_dir.rglob("*") if path.is_file()]
    assert len(paths) > 20
    onefold_can_read = readable(paths)
    assert len(onefold_can_read) == len(paths)
    assert as_nobody(partial(readable, paths)) == []
    path = onefold.status()["redis_login"]["socket"]

    def connect() -> str:
        with socket.socket(socket.AF_UNIX) as connection:
            try:
                connection.connect(path)
            except OSError as error:
                return type(error).__name__
        return "connected"

    assert connect() == "connected"
    assert as_nobody(connect) == "PermissionError"


def test_no_command_line_and_no_log_shows_a_secret(onefold: Onefold) -> None:
    """Every user can read the command line of a process, and logs are sent on. `up` prints the write keys, as status does."""
    values = [value for name, value in secrets(onefold).items() if not name.endswith("write_key")]
    shown = [Path(f"/proc/{role['pid']}/cmdline").read_text() for role in onefold.status()["roles"]]
    shown += [path.read_text(errors="replace") for path in (onefold.data_dir / "logs").iterdir()]
    assert len(shown) > 10
    assert [text for text in shown if any(value in text for value in values)] == []


def test_the_example_of_a_producer_writes_with_the_login_that_status_shows(onefold: Onefold) -> None:
    page = (ROOT / "docs/touchpoints.md").read_text(encoding="utf-8")
    example = re.search(r"^```python\n(import asyncio\n.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert example is not None
    before = onefold.wait_until_settled(0)
    script = f"eval \"$({ONEFOLD} status --env)\" && {sys.executable} - <<'EXAMPLE'\n{example[1]}EXAMPLE\n"
    environment = {**os.environ, "ONEFOLD_DATA_DIR": str(onefold.data_dir)}
    subprocess.run(["bash", "-euc", script], env=environment, check=True, timeout=120)
    after = onefold.wait_until_settled(before["accepted"] + 1)
    assert after["stored"] == before["stored"] + 1
