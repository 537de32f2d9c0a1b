"""`make setup` after a set-up that failed: whatever that one has left, the next one ends with a whole environment."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FAKE_PYTHON = """#!/bin/sh
# Stands for an interpreter: answers questions with a real one, and makes a small environment, unless it is told to fail.
[ "$1" = -c ] && { [ -z "$UNFIT" ] || exit 1; exec REAL "$@"; }
echo "$2 $3" >> "$CALLS"
case "$2" in
  venv) mkdir -p .venv/bin; [ "$FAIL" = venv ] && { touch .venv/half; exit 1; }; cp "$0" .venv/bin/python;;
  pip) [ "$FAIL" = pip ] && { touch .venv/half; exit 1; };;
esac
exit 0
"""


class Checkout:
    """A folder with the Makefile, in which a stand-in is the Python."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.python, self.log = folder, folder / "python", folder / "calls"
        (folder / "requirements").mkdir()
        for name in ("Makefile", "pyproject.toml", "requirements/onefold.lock"):
            shutil.copy(ROOT / name, folder / name)
        self.python.write_text(FAKE_PYTHON.replace("REAL", sys.executable))
        self.python.chmod(self.python.stat().st_mode | stat.S_IXUSR)

    def setup(self, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run `make setup`, with the log of what it ran emptied before."""
        self.log.write_text("")
        return subprocess.run(
            ["make", "setup", f"PYTHON={self.python}"],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": os.environ["PATH"], "CALLS": str(self.log), **environ},
        )

    def outdate(self) -> None:
        """Make the lock newer than the last set-up."""
        os.utime(self.folder / ".venv/.ready", (1, 1))

    def calls(self) -> list[str]:
        return self.log.read_text().splitlines()


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


@pytest.mark.parametrize("step", ["venv", "pip"])
def test_set_up_after_one_that_failed_begins_anew(checkout: Checkout, step: str) -> None:
    assert checkout.setup(FAIL=step).returncode != 0
    assert (checkout.folder / ".venv/half").exists()
    second = checkout.setup()
    assert second.returncode == 0, second.stderr
    assert not (checkout.folder / ".venv/half").exists()
    assert checkout.calls() == ["venv .venv", "pip install", "pip install"]
    assert checkout.setup().returncode == 0
    assert checkout.calls() == []


def test_a_set_up_says_what_it_does_before_it_does_it(checkout: Checkout) -> None:
    printed = checkout.setup().stdout
    steps = ("making the virtual environment", "-m venv", "installing the locked packages", "pip install", "Onefold is set up")
    assert [printed.index(step) for step in steps] == sorted(printed.index(step) for step in steps)


def test_python_that_does_not_fit_leaves_nothing(checkout: Checkout) -> None:
    result = checkout.setup(UNFIT="yes")
    assert result.returncode != 0
    assert "no Python 3.11 to 3.14" in result.stderr
    assert not (checkout.folder / ".venv").exists()


def test_environment_whose_python_is_gone_is_made_anew(checkout: Checkout) -> None:
    assert checkout.setup().returncode == 0
    (checkout.folder / ".venv/bin/python").unlink()
    (checkout.folder / ".venv/bin/python").symlink_to(checkout.folder / "removed")
    (checkout.folder / ".venv/half").touch()
    checkout.outdate()
    assert checkout.setup().returncode == 0
    assert not (checkout.folder / ".venv/half").exists()


def test_environment_that_works_is_kept_when_the_lock_changes(checkout: Checkout) -> None:
    assert checkout.setup().returncode == 0
    (checkout.folder / ".venv/own").touch()
    checkout.outdate()
    assert checkout.setup().returncode == 0
    assert (checkout.folder / ".venv/own").exists()
    assert checkout.calls() == ["pip install", "pip install"]
