"""The contributor's guide is true: the paths that it names exist, and its example runs."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_every_path_of_the_guide_exists() -> None:
    named = {path for path in re.findall(r"`([\w./-]+/[\w./-]*)`", GUIDE) if path.split("/")[0] in {p.name for p in ROOT.iterdir()}}
    assert len(named) > 30
    assert {path for path in named if not (ROOT / path).exists()} == set()


def test_the_example_with_the_debugger_runs() -> None:
    blocks = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    assert len(blocks) == 1
    assert blocks[0].count("breakpoint()\n") == 1
    program = blocks[0].replace("breakpoint()", 'print("fragments:", len([key async for key, _ in store.scan("fragment")]))')
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert run.stderr == ""
    assert "fragments: 1\n" in run.stdout
