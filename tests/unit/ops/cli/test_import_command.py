"""`onefold import` as a process, against a stand-in for the collector that answers as it is told."""

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[4]


class StandIn(ThreadingHTTPServer):
    """Accepts every batch, after `refusals` answers of 503.

    With `stops_after` it answers no more than so many batches, and sets `has_stopped` when the next one has come.
    """

    daemon_threads = True

    def __init__(self, refusals: int, stops_after: int | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.refusals = refusals
        self.answers_left = stops_after
        self.calls: list[dict[str, Any]] = []
        self.has_stopped = threading.Event()
        self.may_end = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: StandIn

    def do_POST(self) -> None:  # the name that the standard library asks for
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.refusals > 0:
            self.server.refusals -= 1
            self._answer(503, {"success": False, "code": "unavailable"})
            return
        if self.server.answers_left == 0:
            self.server.has_stopped.set()
            self.server.may_end.wait(60)
            return
        if self.server.answers_left is not None:
            self.server.answers_left -= 1
        self.server.calls += json.loads(gzip.decompress(body))["batch"]
        self._answer(200, {"success": True, "results": []})

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Write no log."""


@contextmanager
def stand_in(refusals: int = 0, stops_after: int | None = None) -> Iterator[StandIn]:
    server = StandIn(refusals, stops_after)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.may_end.set()
        server.shutdown()
        thread.join()
        server.server_close()


def command(server: StandIn, *arguments: str) -> tuple[list[str], dict[str, str]]:
    environment = {**os.environ, "ONEFOLD_COLLECTOR_URL": server.url, "ONEFOLD_SERVER_WRITE_KEY": "key", "PYTHONPATH": str(ROOT)}
    return [sys.executable, "-m", "ops.cli.main", "import", *arguments], environment


def imported(server: StandIn, cwd: Path, *arguments: str, piped: str = "") -> subprocess.CompletedProcess[str]:
    argv, environment = command(server, *arguments)
    return subprocess.run(argv, cwd=cwd, env=environment, input=piped, capture_output=True, text=True, timeout=120, check=False)


def test_a_pipe_with_a_broken_row_is_imported_around_it_and_every_wait_is_said(tmp_path: Path) -> None:
    with stand_in(refusals=2) as server:
        completed = imported(server, tmp_path, "customers", "-", piped='id,name,city\nK1,"An,Huế\nK2,Bình,Huế\n')
        assert completed.returncode == 1
        assert completed.stderr.count("waiting for the collector: it answers 503 unavailable; the next attempt is in") == 2
        assert "1 stored, 1 not sent, 0 in quarantine" in completed.stdout
        assert "the first is line 2: column 2, character 4: a quotation mark is opened here" in completed.stdout
        assert [call["identifiers"] for call in server.calls] == [{"user_id": "K2"}]
        assert (tmp_path / "stdin.rejects.jsonl").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.xlsx", b"PK\x03\x04", "save it as CSV UTF-8"),
        ("a.json", b'[{"id": "K1"}]', "line 1: this is a JSON array"),
    ],
)
def test_a_file_of_another_kind_fails_in_one_line_with_the_cure(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with stand_in() as server:
        completed = imported(server, tmp_path, "customers", name)
        assert completed.returncode == 1
        assert completed.stderr.startswith(f"onefold: {name}: ")
        assert message in completed.stderr
        assert completed.stdout == ""
        assert server.calls == []


@pytest.mark.parametrize(("stops_after", "stored"), [(0, "0 rows in"), (2, "1,000 rows in")])
def test_an_import_that_a_person_interrupts_says_what_is_stored(tmp_path: Path, stops_after: int, stored: str) -> None:
    (tmp_path / "a.csv").write_text("id,name\n" + "".join(f"K{n},Ánh\n" for n in range(3000)), encoding="utf-8")
    with stand_in(stops_after=stops_after) as server:
        argv, environment = command(server, "customers", "a.csv")
        process = subprocess.Popen(
            argv, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            # A shell lets what it starts in the background ignore Ctrl-C, tests included, and a child would inherit that.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
        assert server.has_stopped.wait(60)
        process.send_signal(signal.SIGINT)
        stdout, _ = process.communicate(timeout=60)
        assert process.returncode != 0
        assert stdout.startswith(stored)
        assert "the import ended before the end of the file; run it again as it is" in stdout
