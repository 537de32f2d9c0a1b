"""The README's commands, run as they are printed."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.stack, pytest.mark.e2e, pytest.mark.kafka, pytest.mark.redis, pytest.mark.clickhouse]


def block_of_the_readme() -> str:
    """Return the block of shell commands that starts a stack. The other block runs the tests, which this test is a part of."""
    blocks: list[str] = re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return next(block for block in blocks if "onefold up" in block)


@pytest.mark.skipif(shutil.which("curl") is None, reason="the block sends its first event with curl, which is not installed here")
def test_the_readmes_commands_run_as_printed(tmp_path: Path) -> None:
    # The block runs at the root of a checkout, where `make setup` has made .venv: here both are links.
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "demo").symlink_to(ROOT / "demo")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ONEFOLD_")}
    try:
        completed = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block_of_the_readme()],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=280,
        )
    finally:
        subprocess.run([Path(sys.prefix) / "bin/onefold", "down"], cwd=tmp_path, env=environment, check=False, timeout=120)
    printed = completed.stdout + completed.stderr
    assert completed.returncode == 0, printed
    assert "Onefold is ready" in printed
    assert '"success":true' in printed
    assert "Segment/" in printed
    assert "Balanced" in printed
    assert "Order Completed" in printed
