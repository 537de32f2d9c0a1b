"""How a process starts, ends and fails, seen from outside."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[3]
HEAD = """
import asyncio, sys
from runtime.errors import Permanent
from runtime.lifecycle import run
"""
WAITS = """
async def main(settings, stop):
    print("up", flush=True)
    await stop.wait()
    print("closed", flush=True)
run("role", main)
"""
STUCK = """
async def main(settings, stop):
    print("up", flush=True)
    await stop.wait()
    print("stopping", flush=True)
    await asyncio.Event().wait()
run("role", main)
"""
FAILS = """
async def main(settings, stop):
    raise Permanent("cannot go on")
run("role", main)
"""


def started(code: str, environment: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HEAD + code],
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_either_signal_ends_a_process_in_order() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        with started(WAITS) as process:
            assert line(process) == "up"
            process.send_signal(number)
            out, _ = process.communicate(timeout=60)
            assert out.strip() == "closed"
            assert process.returncode == 0


def test_a_second_signal_ends_it_at_once() -> None:
    with started(STUCK) as process:
        assert line(process) == "up"
        process.send_signal(signal.SIGTERM)
        assert line(process) == "stopping"
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        assert process.returncode == 130


def test_an_error_of_ours_is_one_line_and_exit_1() -> None:
    with started(FAILS) as process:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 1
        assert said.count("cannot go on") == 1
        assert "Traceback" not in said


def test_a_wrong_setting_is_named_without_its_value() -> None:
    with started(WAITS, {"ONEFOLD_PARTITIONS": "plenty"}) as process:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 1
        assert "ONEFOLD_PARTITIONS" in said
        assert "plenty" not in said
