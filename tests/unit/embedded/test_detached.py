"""A stack that starts detached says what it does meanwhile, and fails with its own last line."""

import sys
from pathlib import Path

import pytest

from embedded.detached import start_detached
from embedded.layout import Layout
from runtime.errors import Permanent


def test_the_lines_of_the_start_are_handed_on_and_the_error_is_the_last_line(tmp_path: Path) -> None:
    script = "print('starting redis, kafka', flush=True); print('onefold: cổng 8080 is in use', flush=True); raise SystemExit(1)"
    lines: list[str] = []
    with pytest.raises(Permanent, match=r"^cổng 8080 is in use$"):
        start_detached(Layout.of(tmp_path), [sys.executable, "-X", "utf8", "-c", script], lines.append)
    assert lines == ["starting redis, kafka"]
