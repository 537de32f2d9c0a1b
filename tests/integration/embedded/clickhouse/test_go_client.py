"""ClickHouse's driver for Go asks, inserts and cancels at the embedded engine."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.clickhouse

PROGRAM = Path(__file__).parents[3] / "clients" / "clickhouse_go"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the built program.

    The test is skipped unless the real clients are required, since fetching and building the driver takes more than a minute.
    """
    if os.environ.get("ONEFOLD_CLIENTS") != "required":
        pytest.skip("the driver for Go is tried by `make clients` (needs go)")
    go = shutil.which("go")
    assert go is not None, "Go is not installed"
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
