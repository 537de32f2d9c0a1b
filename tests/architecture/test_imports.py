"""Who may import whom, beside the layers: each driver has one home, and pure code has none."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "activation", "api", "collector", "consumers", "demo", "domain", "embedded", "ops", "profile_store", "runtime", "schemas",
    "streams", "warehouse",
)  # fmt: skip
HOMES = {
    "faust": {"streams"},
    "mode": {"streams"},
    "redis": {"profile_store"},
    "clickhouse_connect": {"warehouse"},
    "aiokafka": {"runtime", "streams"},
    "chdb": {"embedded"},
}
PURE = tuple(
    path.relative_to(ROOT)
    for path in (
        *sorted((ROOT / "schemas").rglob("*.py")),
        *sorted((ROOT / "domain").rglob("*.py")),
        ROOT / "activation/policy.py",
        ROOT / "activation/webhook_message.py",
    )
)
IMPURE = {
    "redis",
    "aiokafka",
    "faust",
    "clickhouse_connect",
    "httpx",
    "os",
    "time",
    "random",
    "asyncio",
    "starlette",
    "uvicorn",
    "socket",
}


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for item in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(item, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in item.names}
        elif isinstance(item, ast.ImportFrom) and item.module:
            names.add(item.module.partition(".")[0])
    return names


@pytest.mark.parametrize("driver", sorted(HOMES))
def test_a_driver_has_one_home(driver: str) -> None:
    users = {
        package for package in PACKAGES for path in (ROOT / package).rglob("*.py") if driver in imported(path.relative_to(ROOT))
    }
    assert users <= HOMES[driver]


@pytest.mark.parametrize("path", PURE, ids=str)
def test_pure_code_has_no_driver_clock_or_environment(path: Path) -> None:
    assert not imported(path) & IMPURE


def test_the_collector_reaches_no_store() -> None:
    for path in (ROOT / "collector").rglob("*.py"):
        assert "profile_store" not in imported(path.relative_to(ROOT))
