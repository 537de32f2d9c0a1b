"""The project's own files, as the architecture tests read them, whatever the working directory is."""

import ast
import subprocess
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final = (
    "activation", "api", "collector", "consumers", "demo", "domain", "embedded", "ops", "profile_store", "runtime", "schemas",
    "streams", "warehouse",
)  # fmt: skip


@cache
def tracked_files() -> tuple[Path, ...]:
    """Return every file that git knows and that exists, relative to the root."""
    listing = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return tuple(Path(line) for line in listing.splitlines() if (ROOT / line).is_file())


@cache
def production_files() -> tuple[Path, ...]:
    """Return the Python files of the packages, relative to the root."""
    return tuple(path for path in tracked_files() if path.suffix == ".py" and path.parts[0] in PACKAGES)


@cache
def tree_of(path: Path) -> ast.Module:
    """Parse a file, once per run; callers must not change the returned tree."""
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))
