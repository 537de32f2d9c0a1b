"""The life of the engine's process: orderly ends, kills, second starts, and what it says when it cannot serve."""

import os
import signal
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from tests.support.clickhouse_server import clickhouse_server, clickhouse_spec, command_line, users_file
from tests.support.polling import eventually
from tests.support.ports import free_port
from tests.support.services import running_service

pytestmark = pytest.mark.clickhouse

CREATE = "CREATE DATABASE IF NOT EXISTS onefold ENGINE = Atomic"
TABLE = "CREATE TABLE onefold.kept (worker UInt8, batch UInt64) ENGINE = MergeTree ORDER BY batch"
INSERT = "INSERT INTO onefold.kept FORMAT TSV\n"


def fails(argv: Sequence[str]) -> str:
    """Return the one line with which a start fails."""
    completed = subprocess.run(list(argv), capture_output=True, text=True, timeout=60, check=False)
    assert completed.returncode == 1, completed.stderr
    messages = [line for line in completed.stderr.splitlines() if line.startswith("clickhouse: ")]
    assert len(messages) == 1, completed.stderr
    assert "Traceback" not in completed.stderr
    return messages[0]


def test_kill_9_under_load_loses_no_acknowledged_insert(tmp_path: Path) -> None:
    spec, url = clickhouse_spec(tmp_path)
    acknowledged: set[tuple[int, int]] = set()

    def write(worker: int) -> None:
        batch = 0
        with httpx.Client(base_url=url) as client:
            while True:
                row = f"{worker}\t{batch}\n"
                try:
                    client.post("/", content=INSERT + row * 50).raise_for_status()
                except httpx.HTTPError:
                    return
                acknowledged.add((worker, batch))
                batch += 1

    with running_service(spec) as service:
        for sql in (CREATE, TABLE):
            httpx.post(url, content=sql).raise_for_status()
        writers = [threading.Thread(target=write, args=(worker,)) for worker in range(3)]
        for writer in writers:
            writer.start()
        eventually(lambda: len(acknowledged), lambda count: count > 100)
        service.kill()
        for writer in writers:
            writer.join()
        service.start()
        results = httpx.post(url, content="SELECT worker, batch, count() FROM onefold.kept GROUP BY ALL").text.splitlines()
    rows = {(int(worker), int(batch)): int(count) for worker, batch, count in (line.split("\t") for line in results)}
    assert acknowledged <= rows.keys()
    assert set(rows.values()) == {50}


def test_sigterm_finishes_what_runs_and_ends_with_0(tmp_path: Path) -> None:
    spec, url = clickhouse_spec(tmp_path)
    answers: list[str] = []
    with running_service(spec) as service:
        httpx.post(url, content=CREATE).raise_for_status()
        sql = "SELECT sum(sleepEachRow(0.2)) FROM numbers(5) SETTINGS max_block_size = 1"
        asking = threading.Thread(target=lambda: answers.append(httpx.post(url, content=sql, timeout=30).text))
        asking.start()
        observed = "SELECT count() FROM system.processes WHERE query LIKE 'SELECT sum(sleep%'"
        eventually(lambda: httpx.post(url, content=observed).text, lambda text: text == "1\n")
        service.process.send_signal(signal.SIGTERM)
        asking.join()
        assert service.process.wait(20) == 0
        assert answers == ["0\n"]
        service.start()
        assert "onefold\n" in httpx.post(url, content="SHOW DATABASES").text
        service.process.send_signal(signal.SIGINT)
        assert service.process.wait(20) == 0


def test_a_second_process_on_the_store_is_refused_in_one_line(tmp_path: Path) -> None:
    with clickhouse_server(tmp_path):
        messages = fails(command_line(tmp_path / "store", free_port(), users_file(tmp_path)))
    assert "in use by another process" in messages


def test_a_taken_port_is_refused_in_one_line(tmp_path: Path) -> None:
    with clickhouse_server(tmp_path) as url:
        port = httpx.URL(url).port
        assert port is not None
        messages = fails(command_line(tmp_path / "other", port, users_file(tmp_path)))
    assert f"--port {port}" in messages


def test_server_without_users_refuses_every_request(tmp_path: Path) -> None:
    assert "--users-file" in fails(command_line(tmp_path / "store", free_port(), None))
    missing, broken, empty = tmp_path / "missing", tmp_path / "broken", tmp_path / "empty"
    broken.write_text('{"onefold": {"password_sha256": "short", "role": "king"}}')
    empty.write_text("{}")
    for path in (missing, broken, empty):
        messages = fails(command_line(tmp_path / "store", free_port(), path))
        assert str(path) in messages
        assert "short" not in messages


def test_a_directory_that_cannot_be_written_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    users = users_file(tmp_path)
    assert "--path" in fails(command_line(tmp_path / "file" / "store", free_port(), users))
    assert "--path" in fails(command_line(Path("/proc/store"), free_port(), users))


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_is_refused_in_one_line(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(small)], check=False).returncode != 0:
        pytest.skip("a small file system cannot be mounted here")
    try:
        assert "space" in fails(command_line(small / "store", free_port(), users_file(tmp_path)))
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_any_directory_name_works(tmp_path: Path) -> None:
    with clickhouse_server(tmp_path / "dữ liệu & é+%41 ?x=<1>") as url:
        answer = httpx.post(url, content="SELECT 1")
        assert answer.text == "1\n"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "Code: 497" in httpx.post(url, content="CREATE USER mallory").text


def test_ping_reaches_the_engine_while_all_workers_are_busy(tmp_path: Path) -> None:
    with clickhouse_server(tmp_path) as url:
        sql = "SELECT sleepEachRow(0.5) FROM numbers(4) SETTINGS max_block_size = 1"
        asking = [threading.Thread(target=httpx.post, args=(url,), kwargs={"content": sql, "timeout": 60}) for _ in range(24)]
        for one in asking:
            one.start()
        assert httpx.get(f"http://127.0.0.1:{httpx.URL(url).port}/ping", timeout=30).text == "Ok.\n"
        for one in asking:
            one.join()


def test_an_idle_session_is_closed_and_a_dictionary_is_read_again(tmp_path: Path) -> None:
    with clickhouse_server(tmp_path) as url, httpx.Client(base_url=url) as client:
        source = "SOURCE(CLICKHOUSE(TABLE 'labels' DB 'onefold')) LAYOUT(COMPLEX_KEY_HASHED()) LIFETIME(MIN 1 MAX 2)"
        for sql in (
            CREATE,
            "CREATE TABLE onefold.labels (k String, v String) ENGINE = MergeTree ORDER BY k",
            "INSERT INTO onefold.labels VALUES ('a', 'old')",
            f"CREATE DICTIONARY onefold.label (k String, v String) PRIMARY KEY k {source}",
        ):
            client.post("/", content=sql).raise_for_status()
        look = "SELECT dictGet('onefold.label', 'v', 'a')"
        assert client.post("/", content=look).text == "old\n"
        client.post(
            "/", content="ALTER TABLE onefold.labels UPDATE v = 'new' WHERE 1 SETTINGS mutations_sync = 1"
        ).raise_for_status()
        eventually(lambda: client.post("/", content=look).text, lambda text: text == "new\n")
        session = {"session_id": "idle", "session_timeout": "1"}
        assert client.post("/", params=session, content="SELECT 1").text == "1\n"
        again = {"session_id": "idle", "session_check": "1", "session_timeout": "0"}
        eventually(lambda: client.post("/", params=again, content="SELECT 1").text, lambda text: "Code: 372" in text)
