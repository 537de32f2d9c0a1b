"""What the engine's process is confined to: its environment, its port's limits, the time that statements stay."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.clickhouse_server import clickhouse_spec
from tests.support.services import ServiceProcess, running_service

pytestmark = pytest.mark.clickhouse

SECRET = "canary-of-a-secret"
VARIABLES = {
    "CRM_WEBHOOK_SECRET": SECRET,
    "ONEFOLD_TENANT_SECRET": f"{SECRET}-of-the-tenant",
    "ONEFOLD_HTTP_HEADERS_TIMEOUT_MS": "500",
    "ONEFOLD_HTTP_BODY_TIMEOUT_MS": "500",
    "ONEFOLD_HTTP_MAX_UNPROVEN_PER_PEER": "8",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServiceProcess, str]]:
    spec, url = clickhouse_spec(tmp_path_factory.mktemp("clickhouse"))
    with running_service(replace(spec, env={**os.environ, **VARIABLES})) as service:
        yield service, url


def connect(url: str) -> socket.socket:
    address = urlsplit(url)
    return socket.create_connection((address.hostname, address.port or 0), timeout=30)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="no /proc: the environment of a process cannot be read here")
def test_no_secret_of_the_environment_reaches_the_process(server: tuple[ServiceProcess, str]) -> None:
    service, url = server
    assert SECRET.encode() not in Path(f"/proc/{service.process.pid}/environ").read_bytes()
    assert httpx.post(url, content="SELECT 1").text == "1\n"


@pytest.mark.parametrize(
    "begin",
    [b"", b"POST / HTTP/1.1\r\nhost: x\r\n", b"POST /?query=SELECT%201 HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nSELECT"],
)
def test_a_connection_that_sends_no_whole_request_is_closed(server: tuple[ServiceProcess, str], begin: bytes) -> None:
    with connect(server[1]) as connection:
        connection.sendall(begin)
        while connection.recv(4096):
            pass


def test_connections_that_prove_nothing_shut_nobody_out(server: tuple[ServiceProcess, str]) -> None:
    url = server[1]
    with ExitStack() as stack:
        for _ in range(40):
            stack.enter_context(connect(url))
        assert httpx.post(url, content="SELECT 1").text == "1\n"
        assert httpx.get(f"http://127.0.0.1:{httpx.URL(url).port}/ping").text == "Ok.\n"


LOG_PROGRAM = """
import os, sys
from pathlib import Path
from embedded.clickhouse import configuration
directory = Path(sys.argv[1])
configuration.write(directory, 1 << 30)
os.chdir(directory)
from embedded.clickhouse.engine import Engine, trim_query_log
engine = Engine({})
connection = engine.open("app")
connection.query("SYSTEM FLUSH LOGS", "Null")
for days in (0, 6, 8):
    connection.query(f"INSERT INTO system.query_log (event_date, query) SELECT today() - {days}, '{days} days old'", "Null")
trim_query_log(connection)
logged = "SELECT query FROM system.query_log WHERE endsWith(query, 'days old') ORDER BY query"
print(connection.query(logged, "TSV").bytes().decode())
connection.close()
engine.close()
"""


def test_statements_leave_the_log_by_the_stated_time(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LOG_PROGRAM, str(tmp_path)]
    completed = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert completed.stdout.split("\n")[:2] == ["0 days old", "6 days old"]
    assert "8 days old" not in completed.stdout


def test_statements_do_not_outlive_the_process(server: tuple[ServiceProcess, str]) -> None:
    service, url = server
    for sql in ("SELECT 'a statement of before'", "SYSTEM FLUSH LOGS"):
        httpx.post(url, content=sql).raise_for_status()
    service.kill()
    service.start()
    httpx.post(url, content="SYSTEM FLUSH LOGS").raise_for_status()
    logged = "SELECT count() FROM system.query_log WHERE query = 'SELECT ''a statement of before'''"
    assert httpx.post(url, content=logged).text == "0\n"
