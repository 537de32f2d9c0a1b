"""The shape of the tree: what may lie at the root, how large files may be, which names are taken."""

import ast
import statistics
import sys

from tests.support.source_tree import ROOT, production_files, tracked_files, tree_of

ALLOWED_AT_ROOT = {
    ".ci",
    ".dockerignore",
    ".github",
    ".gitignore",
    ".pre-commit-config.yaml",
    ".python-version",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Dockerfile",
    "LICENSE",
    "Makefile",
    "NOTICE",
    "README.md",
    "SECURITY.md",
    "activation",
    "api",
    "collector",
    "consumers",
    "demo",
    "deploy",
    "docker-compose.yml",
    "docs",
    "domain",
    "embedded",
    "ops",
    "profile_store",
    "pyproject.toml",
    "requirements",
    "runtime",
    "schemas",
    "streams",
    "tests",
    "warehouse",
}


def test_root_holds_only_what_is_allowed() -> None:
    assert {path.parts[0] for path in tracked_files()} <= ALLOWED_AT_ROOT


def test_no_package_shadows_the_standard_library() -> None:
    assert not {path.parts[0].removesuffix(".py") for path in production_files()} & sys.stdlib_module_names


def test_files_stay_within_the_size_budget() -> None:
    sizes = {path: len((ROOT / path).read_text().splitlines()) for path in tracked_files() if path.suffix == ".py"}
    assert {str(path): size for path, size in sizes.items() if size > 400} == {}
    assert statistics.median(sizes[path] for path in production_files() if sizes[path] > 1) <= 150


def test_functions_fit_a_screen() -> None:
    long = {}
    for path in production_files():
        for item in ast.walk(tree_of(path)):
            if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) and item.end_lineno is not None:
                size = item.end_lineno - item.lineno + 1
                if size > 60:
                    long[f"{path}:{item.name}"] = size
    assert long == {}


def test_only_the_clock_reads_the_time() -> None:
    readers = set()
    for path in production_files():
        for item in ast.walk(tree_of(path)):
            name = ast.unparse(item) if isinstance(item, ast.Attribute) else ""
            if name in {"time.time", "time.time_ns", "datetime.now", "datetime.datetime.now", "datetime.utcnow"}:
                readers.add(str(path))
    assert readers <= {"runtime/clock.py"}


def test_the_lock_names_no_registry_host() -> None:
    text = (ROOT / "requirements/onefold.lock").read_text()
    assert "://" not in text
    assert text.count("--hash=sha256:") > text.count("==")
