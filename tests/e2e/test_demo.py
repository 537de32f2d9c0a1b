"""The demo as a new user runs it: exit 0 only when the account balances and every due delivery arrived."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.support.shipped_command import ONEFOLD

pytestmark = [pytest.mark.stack, pytest.mark.e2e]


def test_the_demo_balances_and_delivers_everything_that_is_due(tmp_path: Path) -> None:
    result = subprocess.run(
        [ONEFOLD, "demo", "--seconds", "10", "--seed", "3", "--data-dir", str(tmp_path / "demo")],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    assert "every due delivery arrived" in result.stdout
    due = re.search(r"deliveries due\s*│\s*([\d,]+)", result.stdout)
    assert due is not None
    assert int(due[1].replace(",", "")) > 0
    assert re.search(r"Thành phố Hồ Chí Minh|Hà Nội|Đà Nẵng", result.stdout)
