"""A process opens as many files as its connections need, or has fewer connections."""

import subprocess
import sys
from pathlib import Path

import pytest

from runtime.errors import Misconfigured
from runtime.http.server import open_listener

CODE = """
import resource, sys
from runtime.http.server import allow_connections
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
print(allow_connections(int(sys.argv[3])), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize(
    ("soft", "hard", "connections", "allowed", "files"),
    [
        (300, 1_000, 500, 500, 756),  # raised as far as needed
        (300, 600, 500, 344, 600),  # raised as far as possible: fewer connections
        (300, 300, 500, 150, 300),  # half, when even the rest would be too few
        (900, 1_000, 500, 500, 900),  # enough already
    ],
)
def test_the_limit_of_open_files_is_raised_or_obeyed(soft: int, hard: int, connections: int, allowed: int, files: int) -> None:
    argv = [sys.executable, "-c", CODE, str(soft), str(hard), str(connections)]
    printed = subprocess.run(argv, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[4]).stdout
    assert printed.splitlines()[-1].split() == [str(allowed), str(files)]


def test_a_taken_port_names_its_settings() -> None:
    with (
        open_listener("127.0.0.1", 0, name="the test", setting="ONEFOLD_TEST") as first,
        pytest.raises(Misconfigured, match="the test cannot listen: is ONEFOLD_TEST_PORT taken"),
    ):
        open_listener("127.0.0.1", first.getsockname()[1], name="the test", setting="ONEFOLD_TEST")
