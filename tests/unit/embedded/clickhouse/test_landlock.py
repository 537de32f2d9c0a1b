"""The kernel's fence, in a process of its own: what it leaves open and what it closes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import json, os, socket, subprocess, sys
from pathlib import Path
from embedded.clickhouse import landlock
inside, outside = Path(sys.argv[1]), Path(sys.argv[2])
missing = landlock.restrict_process(inside, landlock.interpreter_paths())
def tried(act):
    try:
        act()
    except OSError as error:
        return type(error).__name__
    return "done"
def connect():
    with socket.socket() as link:
        link.connect(("127.0.0.1", 9))
print(json.dumps([missing, {
    "write inside": tried(lambda: (inside / "x").write_text("Nguy\u1ec5n")),
    "read inside": tried((inside / "x").read_text),
    "rename inside": tried(lambda: (inside / "x").rename(inside / "y")),
    "read outside": tried((outside / "secret").read_text),
    "write outside": tried(lambda: (outside / "new").write_text("x")),
    "list outside": tried(lambda: list(outside.iterdir())),
    "read system users": tried(Path("/etc/passwd").read_text),
    "read another process": tried(Path(f"/proc/{os.getppid()}/environ").read_bytes),
    "read own environment": tried(Path("/proc/self/environ").read_bytes),
    "read the environment by a thread": tried(Path(f"/proc/self/task/{os.getpid()}/environ").read_bytes),
    "read own command line": tried(Path("/proc/self/cmdline").read_bytes),
    "read own memory": tried(lambda: Path("/proc/self/mem").open("rb")),
    "read own files": tried(lambda: list(Path("/proc/self/fd").iterdir())),
    "read own state": tried(Path("/proc/self/statm").read_text),
    "start a program": tried(lambda: subprocess.run(["/bin/true"])),
    "connect": tried(connect),
}]))
"""
OPEN = ("write inside", "read inside", "rename inside", "read own state")


def test_the_fence_leaves_the_own_directory_and_closes_the_rest(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (outside / "secret").write_text("x")
    command = [sys.executable, "-c", PROGRAM, str(inside), str(outside)]
    completed = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    missing, seen = json.loads(completed.stdout)
    if missing is not None:
        pytest.skip(f"no kernel fence here: {missing}")
    assert {name: result for name, result in seen.items() if name in OPEN} == dict.fromkeys(OPEN, "done")
    closed = {name: result for name, result in seen.items() if name not in OPEN}
    assert closed == dict.fromkeys(closed, "PermissionError")
