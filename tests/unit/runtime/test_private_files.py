import stat
import subprocess
import sys
from pathlib import Path

import pytest

STARTS_PROCESS = (
    "from runtime.lifecycle import run\nasync def main(settings, stop):\n    open('report', 'w').close()\nrun('tester', main)"
)
STARTS_COMMAND = (
    "import ops.cli.main as command\ncommand.new_application = lambda: lambda: open('report', 'w').close()\ncommand.main()"
)


@pytest.mark.parametrize("code", [STARTS_PROCESS, STARTS_COMMAND], ids=["process", "command"])
def test_what_a_process_writes_is_readable_by_its_owner_alone(tmp_path: Path, code: str) -> None:
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=60, umask=0o022, capture_output=True)
    assert stat.S_IMODE((tmp_path / "report").stat().st_mode) == 0o600
