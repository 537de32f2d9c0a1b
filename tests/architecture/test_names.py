"""One word for one thing: names that mean two things, or that say nothing to a stranger, are refused."""

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.source_tree import ROOT, production_files, tracked_files, tree_of

NEVER: Final = {
    "said": "name what it is: a record, a transition, an answer",
    "say": "publish, print or describe",
    "told": "name the event, the callback's argument or the answer",
    "tell": "notify, report or describe",
    "held": "name the stored or current value",
    "hold": "pause, lock or keep; say of what",
    "kept": "name the entries that were retained",
    "keep": "retain, store or a limit's name",
    "wanted": "expected, required or requested",
    "meant": "intended or expected",
    "asked": "requested, or the request itself",
    "stood": "name the state",
}
"""Words that hide what a name stands for, with what to write instead. No production name consists of one alone."""
SELDOM: Final = {
    "found": "name what was found",
    "one": "name the item",
    "known": "name the set and what it holds",
    "now": "now_ms, or the instant that it is",
    "last": "say the last of what",
    "take": "read, accept or apply",
    "left": "remaining, or the side",
    "done": "say what is complete",
    "way": "path, route or method",
}
"""Words that are sometimes right, for a local of a few lines."""
MOST_SELDOM: Final = 45
"""So many names in all of production may be one of the words that are sometimes right."""
MOST_NEVER: Final = 14
"""What remains of the first list: parameters of foreign interfaces and a few locals. The number may only fall."""
LOGGERS: Final = {
    "runtime/logs.py": "it makes the loggers of all others",
    "embedded/clickhouse/app.py": "the engine's process has no settings of Onefold and writes plain lines to a log of its own",
    "embedded/clickhouse/engine.py": "the same",
    "embedded/clickhouse/main.py": "the same",
}
"""Files that ask the standard library for a logger, with the reason."""
MIRRORS: Final = {
    "unit": "a test of one module, at that module's path",
    "integration": "a test of one package with real services, at that package's path",
}
"""Folders of tests that repeat the tree of production."""


def names_in(path: Path) -> Iterator[str]:
    """Give the names that a file defines: functions, classes, parameters, variables and attributes."""
    for item in ast.walk(tree_of(path)):
        if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield item.name
        elif isinstance(item, ast.arg):
            yield item.arg
        elif isinstance(item, ast.Name | ast.Attribute) and isinstance(item.ctx, ast.Store):
            yield item.id if isinstance(item, ast.Name) else item.attr


def uses_of(words: dict[str, str]) -> Counter[str]:
    """Count the names that are one of these words, by word and file."""
    return Counter(
        f"{path}: {name}: {words[name.strip('_').lower()]}"
        for path in production_files()
        for name in names_in(path)
        if name.strip("_").lower() in words
    )


def test_no_class_name_is_defined_twice() -> None:
    homes = defaultdict(list)
    for path in production_files():
        for item in ast.walk(tree_of(path)):
            if isinstance(item, ast.ClassDef):
                homes[item.name].append(str(path))
    assert {name: paths for name, paths in homes.items() if len(paths) > 1} == {}


def test_names_say_what_they_stand_for() -> None:
    uses = uses_of(NEVER)
    assert uses.total() <= MOST_NEVER, uses


def test_vague_words_are_seldom_names() -> None:
    uses = uses_of(SELDOM)
    assert uses.total() <= MOST_SELDOM, uses


def test_laws_are_named_and_not_numbered() -> None:
    numbered = {
        str(path)
        for path in tracked_files()
        if path.suffix in (".py", ".md", ".sql", ".lua", ".html", ".yaml", ".yml", ".toml")
        and re.search(r"\b[Ll]aws? [0-9]", (ROOT / path).read_text(encoding="utf-8"))
    }
    assert numbered == set()


def test_only_the_runtime_asks_for_a_logger() -> None:
    users = set()
    for path in production_files():
        for item in ast.walk(tree_of(path)):
            if isinstance(item, ast.Call) and ast.unparse(item.func) in ("logging.getLogger", "getLogger"):
                users.add(str(path))
    assert users <= LOGGERS.keys()


@pytest.mark.parametrize("kind", MIRRORS)
def test_folders_of_tests_mirror_the_rooms(kind: str) -> None:
    base = Path("tests") / kind
    folders = {path.parent.relative_to(base) for path in tracked_files() if path.suffix == ".py" and path.is_relative_to(base)}
    assert {str(folder) for folder in folders if not (ROOT / folder).is_dir()} == set()
