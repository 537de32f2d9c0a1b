"""ClickHouse's driver for Go asks, inserts and cancels at the embedded engine."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.clickhouse

PROGRAM = Path(__file__).parents[3] / "clients" / "clickhouse_go"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the built program; skip where Go or its modules cannot be had."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("Go is not installed: its driver cannot be tried")
    if subprocess.run([go, "mod", "download"], cwd=PROGRAM, capture_output=True, timeout=120, check=False).returncode != 0:
        pytest.skip("the modules of Go's driver cannot be fetched here")
    binary = tmp_path_factory.mktemp("go") / "ask"
    built = subprocess.run(
        [go, "build", "-o", str(binary), "."], cwd=PROGRAM, capture_output=True, text=True, timeout=900, check=False
    )
    assert built.returncode == 0, built.stderr
    return binary


@pytest.mark.parametrize("compression", [[], ["lz4"], ["zstd"], ["gzip"]])
def test_the_go_driver_asks_inserts_and_cancels(url: str, program: Path, compression: list[str]) -> None:
    completed = subprocess.run([str(program), url, *compression], capture_output=True, text=True, timeout=120, check=False)
    assert completed.returncode == 0, completed.stderr
    first, second, local, totals, knows_code, is_cancelled = map(json.loads, completed.stdout.splitlines())
    assert first == [1, "Lê Văn Đạt", "2026-11-29T07:00:00Z", ["vip", "mới"], {"orders": 2}, "Huế"]
    assert second == [2, "Nguyễn Thị Lan", "2026-11-29T07:00:00Z", [], {}, "Đà Nẵng"]
    assert local == "2026-11-29T07:00:00+07:00"
    assert totals == [500_000, sum(range(500_000))]
    assert knows_code
    assert is_cancelled
