"""Who may import whom, beside the layers: each driver has one home, and pure code has none."""

import ast
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from tests.support.source_tree import ROOT, production_files, tree_of

HOMES: Final = {
    "faust": {"streams"},
    "mode": {"streams"},
    "redis": {"profile_store"},
    "clickhouse_connect": {"warehouse"},
    "aiokafka": {"runtime", "streams"},
    "chdb": {"embedded"},
}
IMPURE: Final = {
    "aiokafka", "asyncio", "clickhouse_connect", "faust", "httpx", "os", "random", "redis", "socket", "starlette", "time",
    "uvicorn",
}  # fmt: skip
"""What a pure file does not import: drivers, the clock, chance, the environment, the network and the event loop."""

SERVERS: Final = {
    "runtime/http/server.py": "it opens the ports of all processes, within limits",
    "runtime/http/protocol.py": "it is the protocol that holds these limits",
    "demo/webhook_receiver.py": "the demo's shop is no part of Onefold",
}
"""Files that import the HTTP server, with the reason: every other port is opened by the first of them."""
ALLOWED: Final = {
    "collector/openapi.py": ({"starlette"}, "it describes the routes, and names their types; it handles no request"),
    "demo/simulation.py": ({"random"}, "its generator is seeded, so that the same seed gives the same calls"),
}
"""What a pure file may import all the same, with the reason."""


def claims_purity(path: Path) -> bool:
    """Tell whether a file must be pure: all of `domain` and `schemas`, and each other file whose docstring says that it is."""
    return path.parts[0] in ("domain", "schemas") or re.search(r"\b[Pp]ure\b", ast.get_docstring(tree_of(path)) or "") is not None


PURE: Final = tuple(path for path in production_files() if claims_purity(path))


@cache
def imported(path: Path) -> frozenset[str]:
    """Return the top-level names of the packages that a file imports, wherever in it."""
    names: set[str] = set()
    for item in ast.walk(tree_of(path)):
        if isinstance(item, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in item.names}
        elif isinstance(item, ast.ImportFrom) and item.module:
            names.add(item.module.partition(".")[0])
    return frozenset(names)


@pytest.mark.parametrize("driver", sorted(HOMES))
def test_a_driver_has_one_home(driver: str) -> None:
    assert {path.parts[0] for path in production_files() if driver in imported(path)} <= HOMES[driver]


@pytest.mark.parametrize("path", PURE, ids=str)
def test_pure_code_has_no_driver_clock_or_environment(path: Path) -> None:
    allowed, _ = ALLOWED.get(path.as_posix(), (set(), ""))
    assert imported(path) & IMPURE <= allowed


def test_every_file_that_must_be_pure_is_collected_from_any_directory(tmp_path: Path) -> None:
    expected = {
        Path(folder, name).relative_to(ROOT).as_posix()
        for package in ("domain", "schemas")
        for folder, _, names in os.walk(ROOT / package)
        for name in names
        if name.endswith(".py")
    }
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import {__name__} as module; print(*module.PURE, sep='\\n')"
    listing = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    collected = listing.split()
    assert set(collected) >= expected
    assert collected == [path.as_posix() for path in PURE]


def test_the_collector_reaches_no_store() -> None:
    assert [path for path in production_files() if path.parts[0] == "collector" and "profile_store" in imported(path)] == []


def test_every_http_port_is_opened_within_the_shared_limits() -> None:
    assert {str(path) for path in production_files() if "uvicorn" in imported(path)} <= SERVERS.keys()
