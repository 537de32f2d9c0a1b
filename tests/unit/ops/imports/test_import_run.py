import gzip
import io
import os
import re
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from domain.intake.import_columns import ImportKind, ImportMapping
from domain.intake.import_orders import ImportRow
from ops.imports.collector_client import CollectorClient, require_http_url
from ops.imports.import_file import MAX_LINE_CHARS, load_mapping
from ops.imports.import_run import ImportSummary, batches, run
from runtime.errors import Invalid, Misconfigured, Permanent, Transient
from schemas.reasons import Reason

Answer = httpx.Response | httpx.TransportError
ACCEPTED = {"success": True, "results": []}


class Collector:
    """A collector that gives the listed answers and then accepts everything; `slept` is how long the client waited."""

    def __init__(self, *answers: Answer) -> None:
        self._answers, self.slept, self.batches = list(answers), list[float](), list[list[dict[str, Any]]]()
        http = httpx.Client(transport=httpx.MockTransport(self._handle), base_url="http://collector.test")
        self.client = CollectorClient(http, "key", self.slept.append)

    def _handle(self, request: httpx.Request) -> httpx.Response:
        assert request.headers["authorization"].startswith("Basic ")
        calls = orjson.loads(gzip.decompress(request.content))["batch"]
        if self._answers:
            answer = self._answers.pop(0)
            if isinstance(answer, httpx.TransportError):
                raise answer
            return answer
        self.batches.append(calls)
        bad = [
            {"index": n, "reason": "no_identifier", "path": "", "messageId": None}
            for n, call in enumerate(calls)
            if "null" in call.get("identifiers", {}).values()
        ]
        return httpx.Response(200, json={"success": True, "results": bad})


class Waits(list[tuple[str, float]]):
    """The waits of a client, as it was told of them."""

    def add(self, reason: str, wait_s: float) -> None:
        self.append((reason, wait_s))


def refusal(status: int, **headers: str) -> httpx.Response:
    return httpx.Response(status, json={"success": False, "code": f"code_{status}"}, headers=headers)


def imported(
    path: Path, collector: Collector, kind: ImportKind = "customers", progress: Callable[[int, int | None], None] | None = None
) -> ImportSummary:
    return run(kind, path, ImportMapping(), collector.client, progress or (lambda _, __: None))


def test_import_waits_for_the_requested_retry_delay() -> None:
    collector = Collector(refusal(503, **{"Retry-After": "2"}), refusal(429, **{"Retry-After": "7"}))
    assert collector.client.send([{"a": 1}]) == []
    assert collector.slept == [2.0, 7.0]
    assert collector.batches == [[{"a": 1}]]


def test_it_tries_again_when_the_collector_cannot_be_reached() -> None:
    collector = Collector(httpx.ConnectError("away"), httpx.ReadTimeout("slow"), refusal(503))
    assert collector.client.send([{"a": 1}]) == []
    assert len(collector.slept) == 3


def test_import_gives_up_after_its_retry_limit() -> None:
    collector = Collector(*[refusal(503, **{"Retry-After": "60"})] * 20)
    with pytest.raises(Transient, match="503 code_503"):
        collector.client.send([{"a": 1}])
    assert sum(collector.slept) <= 360


def test_a_batch_that_is_too_large_is_halved() -> None:
    collector = Collector(refusal(413))
    calls = [{"identifiers": {"user_id": name}} for name in ("a", "b", "null", "c", "null")]
    assert [result["index"] for result in collector.client.send(calls)] == [2, 4]
    assert [len(batch) for batch in collector.batches] == [2, 3]


@pytest.mark.parametrize(("status", "error"), [(401, Misconfigured), (404, Misconfigured), (400, Permanent), (413, Permanent)])
def test_import_reports_permanent_failures(status: int, error: type[Exception]) -> None:
    with pytest.raises(error, match=str(status)):
        Collector(refusal(status)).client.send([{"a": 1}])


def test_rejected_rows_are_reported_in_order(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"id": "a"}\n{"id": "null"}\nnope\n{"id": "b"}\n', encoding="utf-8")
    progress_reports: list[tuple[int, int | None]] = []
    summary = imported(file, Collector(), progress=lambda read, size: progress_reports.append((read, size)))
    report = tmp_path / "a.jsonl.rejects.jsonl"
    assert summary == ImportSummary(4, 2, 1, 1, {"no_identifier": 1, "unparsable": 1}, str(report))
    assert [(reject["line"], reject["raw"]) for reject in map(orjson.loads, report.read_bytes().splitlines())] == [
        (2, '{"id": "null"}'), (3, "nope"),
    ]  # fmt: skip
    assert report.stat().st_mode & 0o777 == 0o600
    assert progress_reports[-1] == (file.stat().st_size, file.stat().st_size)
    file.write_text('{"id": "a"}\n', encoding="utf-8")
    assert imported(file, Collector()).report == ""
    assert not report.exists()


def test_a_second_run_after_a_break_sends_the_same_calls(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("id,name\n" + "".join(f"K{n},Ánh {n}\n" for n in range(1200)), encoding="utf-8")
    broken, uninterrupted = Collector(), Collector()
    broken.client.retry_for_s = -1
    with pytest.raises(Transient):
        imported(file, broken)
    assert imported(file, uninterrupted).stored == 1200
    repeated = Collector()
    assert imported(file, repeated).stored == 1200
    assert repeated.batches == uninterrupted.batches
    assert [len(batch) for batch in uninterrupted.batches] == [500, 500, 200]


def test_a_file_that_names_nobody_is_not_sent(tmp_path: Path) -> None:
    file, collector = tmp_path / "a.csv", Collector()
    file.write_text("cột,khác\n1,2\n", encoding="utf-8")
    with pytest.raises(Invalid, match="--mapping"):
        imported(file, collector)
    assert collector.batches == []


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="cannot be read"):
        imported(tmp_path / "none.csv", Collector())
    (tmp_path / "long.csv").write_text("id\n" + "x" * (MAX_LINE_CHARS + 1), encoding="utf-8")
    with pytest.raises(Invalid, match="line 2"):
        imported(tmp_path / "long.csv", Collector())
    (tmp_path / "empty.csv").write_bytes(b"")
    assert imported(tmp_path / "empty.csv", Collector()) == ImportSummary()


def test_batches_are_bounded_in_bytes_too() -> None:
    assert [len(batch) for batch in batches(iter([ImportRow(n, "x" * 400_000, {}) for n in range(5)]))] == [2, 2, 1]


def test_a_mapping_file_and_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "mapping.yaml"
    file.write_text('columns: {"Điểm": traits.points, "Mật": null}\nconstants: {properties.currency: VND}\n', encoding="utf-8")
    mapping = load_mapping(file, "Mua hàng", "Asia/Ho_Chi_Minh")
    assert mapping.columns == {"Điểm": "traits.points", "Mật": None}
    assert mapping.constants == {"properties.currency": "VND", "event": "Mua hàng"}
    assert mapping.timezone == "Asia/Ho_Chi_Minh"
    assert load_mapping(None, None, None) == ImportMapping()
    for text, message in (("columns: [a]", "columns"), ("- a", "document"), ("a: b: c", "no mapping"), ("colums: {}", "colums")):
        file.write_text(text, encoding="utf-8")
        with pytest.raises(Misconfigured, match=message):
            load_mapping(file, None, None)


def test_every_wait_is_said() -> None:
    collector, waits = Collector(refusal(503, **{"Retry-After": "2"}), httpx.ConnectError("away")), Waits()
    collector.client.on_wait = waits.add
    collector.client.send([{"a": 1}])
    assert [reason for reason, _ in waits] == ["it answers 503 code_503", "it cannot be reached (ConnectError)"]
    assert [wait_s for _, wait_s in waits] == collector.slept


@pytest.mark.parametrize(
    "url", ["nonsense", "", "localhost:8080", "ftp://host", "http://", "http://a b", "http://[x", "http://h:99999"]
)
def test_an_address_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(Misconfigured, match="--url is no address"):
        require_http_url(url)
    assert require_http_url("https://collect.example.vn/base") == "https://collect.example.vn/base"


def test_a_host_that_does_not_exist_is_not_waited_for() -> None:
    error = httpx.ConnectError("no host")
    error.__cause__ = socket.gaierror(socket.EAI_NONAME, "unknown")
    collector = Collector(error)
    with pytest.raises(Misconfigured, match="check --url"):
        collector.client.send([{"a": 1}])
    assert collector.slept == []


@pytest.mark.parametrize(
    "answer",
    [httpx.Response(200, text="<html>"), httpx.Response(200, json=[]), httpx.Response(200, json={"ok": 1}), httpx.Response(301)],
)
def test_what_is_no_collector_is_not_taken_for_one(answer: httpx.Response) -> None:
    with pytest.raises(Misconfigured, match="check --url"):
        Collector(answer).client.send([{"a": 1}])


def test_an_interrupted_import_has_its_counts(tmp_path: Path) -> None:
    file, summary, collector = tmp_path / "a.csv", ImportSummary(), Collector()
    file.write_text("id,name\n" + "".join(f"K{n},Ánh\n" for n in range(1200)), encoding="utf-8")

    def interrupt(_read_bytes: int, _size: int | None) -> None:
        if summary.rows == 1000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run("customers", file, ImportMapping(), collector.client, interrupt, summary=summary)
    assert (summary.rows, summary.stored, summary.interrupted) == (1000, 1000, True)
    assert run("customers", file, ImportMapping(), collector.client, lambda _, __: None).interrupted is False


def test_a_pipe_is_read_like_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    content = ("id,name\n" + "".join(f"K{n},Ánh\n" for n in range(3000)) + "null,x\n").encode("utf-16")
    writer = threading.Thread(target=pipe.write_bytes, args=(content,))
    writer.start()
    summary = imported(pipe, Collector())
    writer.join()
    assert (summary.rows, summary.stored, summary.quarantined, summary.report) == (3001, 3000, 1, "pipe.rejects.jsonl")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"id\nK1\nnull\n")))
    summary = imported(Path("-"), Collector())
    assert (summary.rows, summary.stored, summary.report) == (2, 1, "stdin.rejects.jsonl")


@pytest.mark.parametrize("content", [b"PK\x03\x04abc", b'[{"id": 1}]', b"id,name\n", b"\n", b'id,"name\nK1,x\n'])
def test_a_file_that_cannot_be_meant_sends_nothing_and_names_itself(tmp_path: Path, content: bytes) -> None:
    file, collector = tmp_path / "a.xlsx", Collector()
    file.write_bytes(content)
    with pytest.raises(Invalid, match=r"a\.xlsx: "):
        imported(file, collector)
    assert collector.batches == []


def test_rejects_hold_sentences(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text('id,name\nnull,x\nK2,"y\nK3,z\n', encoding="utf-8")
    summary = imported(file, Collector())
    rejects = [orjson.loads(line) for line in Path(summary.report).read_bytes().splitlines()]
    assert [reject["detail"] for reject in rejects] == [
        f"The row is in quarantine. {Reason.NO_IDENTIFIER.explanation}",
        "column 2, character 4: a quotation mark is opened here and not closed",
    ]
    assert summary.first_by_reason["unparsable"] == (
        "line 3: column 2, character 4: a quotation mark is opened here and not closed"
    )


def test_errors_of_a_mapping_are_in_our_words(tmp_path: Path) -> None:
    file = tmp_path / "mapping.yaml"
    for text, message in (
        ("columns: {a: traitz.x}", "columns.a: a target is one of"),
        ("day_first: maybe", "day_first: must be true or false"),
        ("colums: {}", "colums: unknown key: did you mean `columns`?"),
        ("timezone: Mars", "timezone: no such time zone"),
        ("dates: {time: '%H'}", "dates.time: a format is"),
        ("decimal: x", "decimal: must be one of ., ,"),
    ):
        file.write_text(text, encoding="utf-8")
        with pytest.raises(Misconfigured, match=re.escape(message)):
            load_mapping(file, None, None)


def test_an_id_of_its_own_in_every_row_is_asked_about_when_phones_come_again(tmp_path: Path) -> None:
    file, collector = tmp_path / "a.csv", Collector()
    rows = "".join(f"DH-{n},09123456{n % 5:02},2025-06-15\n" for n in range(40))
    file.write_text("customer number,SĐT,date\n" + rows, encoding="utf-8")
    with pytest.raises(Invalid, match="every row has a user_id of its own, although rows share a value of phone"):
        imported(file, collector, "events")
    assert collector.batches == []
    mapping = ImportMapping(columns={"customer number": "user_id"})
    assert run("events", file, mapping, collector.client, lambda _, __: None).stored == 40
    file.write_text(
        "customer number,SĐT,date\n" + "".join(f"K{n},09123456{n:02},2025-06-15\n" for n in range(40)), encoding="utf-8"
    )
    assert imported(file, collector, "events").stored == 40


def test_rows_that_are_joined_are_counted_one_by_one(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text(
        "mã KH,mã đơn,date,sku\nK1,D1,2025-06-15,a\nK1,D1,2025-06-15,b\nnull,D2,2025-06-15,a\nnull,D2,,b\n", encoding="utf-8"
    )
    summary = imported(file, Collector(), "events")
    assert (summary.rows, summary.stored, summary.quarantined, summary.reasons) == (4, 2, 2, {"no_identifier": 2})
