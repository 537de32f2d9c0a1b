"""`onefold import` as a process, against a collector process with a real broker behind it."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.collector_harness import KEY, source
from tests.support.collector_process import CollectorProcess, collector_process
from tests.support.rounds import rounds
from tests.support.shipped_command import ONEFOLD

ROWS = 10_000
LARGE_FILE_BYTES = rounds(quick=5, thorough=50) * 1024 * 1024


def imported(process: CollectorProcess, *argv: str) -> tuple[int, Any]:
    completed = subprocess.run(
        [ONEFOLD, "import", *argv, "--json"],
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
        env={**os.environ, "ONEFOLD_COLLECTOR_URL": process.url, "ONEFOLD_SERVER_WRITE_KEY": KEY},
    )
    assert completed.stdout, completed.stderr
    return completed.returncode, json.loads(completed.stdout)


@pytest.mark.kafka
def test_a_customer_file_imported_twice_is_stored_once(kafka: str, tmp_path: Path) -> None:
    file = tmp_path / "khách hàng.csv"
    lines = [f'KH-{n};"Nguyễn Thị Ánh {n}";09{n:08};anh{n}@thu.vn;Huế;15/06/1990\n' for n in range(ROWS)]
    lines[100] = "null;;;;;\n"
    lines[200] = "KH-200;a;b;c;d;e;f;g\n"
    file.write_text("Mã KH;Họ tên;SĐT;Email;Tỉnh/TP;Ngày sinh\n" + "".join(lines), encoding="utf-16")
    report = file.with_name("khách hàng.csv.rejects.jsonl")
    with collector_process(kafka, tmp_path, source("default", KEY)) as process:
        code, summary = imported(process, "customers", str(file))
        assert code == 1
        assert summary["rows"] == ROWS
        assert summary["stored"] == ROWS - 2
        assert summary["refused"] == 1
        assert summary["quarantined"] == 1
        assert summary["report"] == str(report)
        rejects = [json.loads(line) for line in report.read_text(encoding="utf-8").splitlines()]
        assert [(reject["line"], reject["reason"], reject["raw"]) for reject in rejects] == [
            (102, "no_identifier", "null;;;;;"), (202, "wrong_type", "KH-200;a;b;c;d;e;f;g"),
        ]  # fmt: skip
        events = process.read("events", ROWS - 2)
        first = {event.id: event for event in events}
        assert len(first) == ROWS - 2
        (customer_event,) = [event for event in events if ("user_id", "KH-7") in event.identifiers]
        assert customer_event.traits["name"] == "Nguyễn Thị Ánh 7"
        assert customer_event.traits["birthday"] == "1990-06-15"
        assert imported(process, "customers", str(file))[1]["stored"] == ROWS - 2
        repeated_events = process.read("events", 2 * (ROWS - 2))
        assert {(event.id, event.owner) for event in repeated_events} == {(event.id, event.owner) for event in first.values()}


@pytest.mark.kafka
def test_imported_purchases_use_their_own_time_and_a_column_mapping(kafka: str, tmp_path: Path) -> None:
    file, mapping = tmp_path / "don.jsonl", tmp_path / "mapping.yaml"
    file.write_text('{"so_dt": "0912345678", "ngay": "15/06/2025 14:30", "tong": "1.250.000 ₫", "don": 7}\n', encoding="utf-8")
    mapping.write_text(
        "columns: {so_dt: phone, tong: properties.total, don: properties.order_id}\nconstants: {properties.currency: VND}\n"
    )
    with collector_process(kafka, tmp_path, source("default", KEY)) as process:
        argv = ("events", str(file), "--mapping", str(mapping), "--timezone", "Asia/Ho_Chi_Minh", "--event", "Mua hàng")
        code, summary = imported(process, *argv)
        assert code == 0
        assert summary["stored"] == 1
        assert summary["report"] == ""
        (event,) = process.read("events", 1)
        assert event.name == "Mua hàng"
        assert event.time_ms == 1_749_972_600_000
        assert event.properties == {"total": 1_250_000, "order_id": 7, "currency": "VND"}
        assert not file.with_name("don.jsonl.rejects.jsonl").exists()


@pytest.mark.kafka
@pytest.mark.timeout(900)  # the 50 MB of a thorough run take one and a half minutes on two free cores
def test_an_open_quotation_mark_in_the_middle_of_a_large_export_costs_one_row(kafka: str, tmp_path: Path) -> None:
    file = tmp_path / "export.csv"
    note = "giao giờ hành chính, gọi trước khi giao, " * 8
    row_count = LARGE_FILE_BYTES // len(f'KH-100000,Nguyễn Thị Ánh,"{note}"\n'.encode())
    middle = row_count // 2
    with file.open("w", encoding="utf-8") as out:
        out.write("Mã KH,Họ tên,Ghi chú\n")
        for n in range(row_count):
            out.write(f'KH-{n},{"" if n != middle else chr(34)}Nguyễn Thị Ánh,"{note}"\n')
    with collector_process(kafka, tmp_path, source("default", KEY)) as process:
        code, summary = imported(process, "customers", str(file))
        assert code == 1
        assert (summary["rows"], summary["stored"], summary["refused"]) == (row_count, row_count - 1, 1)
        place = f"line {middle + 2}: column 2, character {len(f'KH-{middle},') + 1}"
        assert summary["first_by_reason"]["unparsable"].startswith(f"{place}: a quotation mark is opened here and not closed")
        (reject,) = [json.loads(line) for line in Path(summary["report"]).read_text(encoding="utf-8").splitlines()]
        assert reject["line"] == middle + 2
        assert reject["raw"].startswith(f'KH-{middle},"Nguyễn')
