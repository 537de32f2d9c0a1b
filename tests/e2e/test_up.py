"""`onefold up`, `status` and `down` as an operator meets them."""

import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from embedded.child_process import process_identity
from tests.support.embedded_stack import OnefoldProcess
from tests.support.polling import eventually

pytestmark = [pytest.mark.stack, pytest.mark.e2e, pytest.mark.kafka, pytest.mark.redis, pytest.mark.clickhouse]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnefoldProcess]:
    """Start the stores alone and yield the ready process, for tests that leave the stores running.

    The first of these tests sees that nothing was restarted.
    """
    with OnefoldProcess(tmp_path_factory.mktemp("running") / "data", roles="") as made:
        yield made


@pytest.fixture
def command(tmp_path: Path) -> Iterator[OnefoldProcess]:
    """Give a command for the stores alone, in a directory of the test's own; end what still runs afterwards."""
    made = OnefoldProcess(tmp_path / "data", roles="")
    yield made
    made.stop()
    made.run("down")


def pids(command: OnefoldProcess) -> list[int]:
    return [role["pid"] for role in command.status()["roles"]]


def all_gone(child_pids: list[int]) -> bool:
    return all(process_identity(pid) is None for pid in child_pids)


def test_status_reports_addresses_keys_and_roles(running: OnefoldProcess) -> None:
    state = running.status()
    assert set(state["addresses"]) == {"collector", "api", "clickhouse", "kafka", "redis"}
    assert set(state["write_keys"]) == {"default", "server"}
    assert {role["name"]: (role["ready"], role["restarts"]) for role in state["roles"]} == {
        "redis": (True, 0), "clickhouse": (True, 0), "kafka": (True, 0),
    }  # fmt: skip
    assert state["addresses"]["kafka"] in running.output()
    assert state["api_token"] not in running.output()
    printed = running.run("status", "--json")
    assert printed.returncode == 0
    assert json.loads(printed.stdout) == {**state, "identity_rules": None}


def test_a_second_up_on_the_directory_is_refused_in_one_line(running: OnefoldProcess) -> None:
    second = running.run("up")
    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert "is in use by `onefold up` with process id" in second.stderr
    assert running.status()["ready"] is True


def test_a_killed_child_is_restarted(running: OnefoldProcess) -> None:
    before = running.role("redis")["restarts"]
    os.kill(running.role("redis")["pid"], signal.SIGKILL)
    eventually(lambda: running.status()["ready"] and running.role("redis")["restarts"] == before + 1, within_s=60)
    assert "redis ended (SIGKILL), restarting" in running.output()


def test_a_killed_up_restarts_on_the_same_ports_and_sigterm_ends_it_in_order(command: OnefoldProcess) -> None:
    command.up()
    first = command.status()
    child_pids = pids(command)
    with Redis.from_url(first["addresses"]["redis"]) as redis:
        redis.set("kept", "Nguyễn")
    assert command.process is not None
    command.process.kill()
    command.process.wait()
    command.up()
    second = command.status()
    with Redis.from_url(second["addresses"]["redis"], decode_responses=True) as redis:
        assert redis.get("kept") == "Nguyễn"
    assert all_gone(child_pids)
    assert second["addresses"] == first["addresses"]
    assert second["write_keys"] == first["write_keys"]
    children = pids(command)
    command.process.send_signal(signal.SIGTERM)
    assert command.process.wait(60) == 0
    assert all_gone(children)
    assert command.output().rstrip().endswith("stopped")


def test_detached_stack_runs_until_down(command: OnefoldProcess) -> None:
    started = command.run("up", "--detach")
    assert started.returncode == 0
    assert started.stderr == ""
    assert "Onefold is ready" in started.stdout
    child_pids = pids(command)
    assert command.run("status").returncode == 0
    assert command.run("down").returncode == 0
    assert all_gone(child_pids)
    after = command.run("status", "--json")
    assert after.returncode == 1
    assert json.loads(after.stdout)["ready"] is False
    assert "start it with `onefold up`" in after.stderr


@pytest.mark.parametrize("detach", [[], ["--detach"]])
def test_a_fixed_port_in_use_is_one_line_with_the_cure(command: OnefoldProcess, detach: list[str]) -> None:
    with socket.socket() as other_server:
        other_server.bind(("127.0.0.1", 0))
        other_server.listen()
        command.env["ONEFOLD_COLLECTOR_PORT"] = str(other_server.getsockname()[1])
        refused = command.run("up", *detach)
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "(ONEFOLD_COLLECTOR_PORT) is in use" in refused.stderr


def test_without_a_network_or_jars_up_says_what_to_do(command: OnefoldProcess, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    nowhere = "http://127.0.0.1:9"
    command.env = {
        "XDG_CACHE_HOME": str(tmp_path / "cache"), "HOME": str(tmp_path / "home"), "PATH": "/nonexistent",
        "HTTP_PROXY": nowhere, "HTTPS_PROXY": nowhere, "http_proxy": nowhere, "https_proxy": nowhere, "NO_PROXY": "",
        "no_proxy": "",
    }  # fmt: skip
    refused = command.run("up")
    assert refused.returncode == 1
    assert refused.stderr.startswith("onefold: cannot fetch at.yawk.lz4:lz4-java:1.10.2 (")
    assert "ONEFOLD_KAFKA_LIB" in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_down_where_nothing_runs_is_no_error(command: OnefoldProcess) -> None:
    completed = command.run("down")
    assert completed.returncode == 0
    assert completed.stderr == ""
    assert "nothing runs in" in completed.stdout
